package main

import (
	"strconv"
	"sync/atomic"
	"time"

	"porthole/mjpeg"
)

const (
	// boundary separates the parts of the stream. Each part includes the one that ends it,
	// so that a browser can paint the part when its last byte has come.
	boundary = "\r\n--frame\r\n"

	// headerRoom is the space in front of the JPEG in a frame's buffer for the part's
	// header, in bytes. The longest header has 120.
	headerRoom = 128

	// Parts begin and end at multiples of wordSize, in bytes. The kernel of a Pi Zero then
	// copies them into a socket by whole words, which takes 9 us for 28 KB on an emulated
	// one (.ci/pizero). Otherwise it shifts every word into place, which takes 39 us for
	// each client and frame.
	wordSize = 4

	// maxFree is the number of frames that are kept for reuse while nobody holds them. A
	// stream without stalled clients needs three: the newest, the next, and one that is
	// being sent. There are never more frames than these, the newest, one that is being
	// filled, and those that clients hold back (see maxHeld).
	maxFree = 4
)

// A frame is one picture, laid out once as it goes over the wire to all clients:
//
//	Content-Type: image/jpeg\r\n
//	Content-Length: 27904\r\n
//	X-Timestamp: 1700000000.123456\r\n
//	X-Frame:   42\r\n
//	\r\n
//	<JPEG>\r\n--frame\r\n
//
// A few spaces in the header and fill bytes in the JPEG make it begin and end at multiples
// of wordSize.
//
// Clients share it, and nothing but seq changes while anyone holds it. The last holder's
// release puts it back among the stream's free frames.
type frame struct {
	stream  *stream
	part    []byte    // all of the above
	jpeg    []byte    // the picture alone, inside part
	buf     []byte    // contains part and jpeg
	at      time.Time // when the camera captured it
	number  uint32    // of the capture; a repeat keeps it
	settled bool      // comes from a camera whose exposure has settled

	refs atomic.Int32  // holders; 0 while free or being filled
	seq  atomic.Uint32 // of the publication that sent it last
}

// getFrame returns a frame to be filled by the camera, and then published or
// recycled.
func (s *stream) getFrame() *frame {
	s.freeMu.Lock()
	defer s.freeMu.Unlock()
	if n := len(s.free); n > 0 {
		f := s.free[n-1]
		s.free = s.free[:n-1]
		return f
	}
	return &frame{stream: s, buf: make([]byte, headerRoom, 32<<10)}
}

// putFrame keeps a frame that nobody holds for its next use.
func (s *stream) putFrame(f *frame) {
	s.freeMu.Lock()
	defer s.freeMu.Unlock()
	if len(s.free) < maxFree {
		s.free = append(s.free, f)
	}
}

// layOut lays out the part around jpeg, which was appended to f.room().
func (f *frame) layOut(jpeg []byte, at time.Time, number uint32) {
	jpeg = mjpeg.Pad(jpeg, -(len(jpeg)+len(boundary))&(wordSize-1))
	var room [headerRoom]byte
	h := append(room[:0], "Content-Type: image/jpeg\r\nContent-Length: "...)
	h = strconv.AppendInt(h, int64(len(jpeg)-headerRoom), 10)
	h = append(h, "\r\nX-Timestamp: "...)
	h = appendSeconds(h, at)
	h = append(h, "\r\nX-Frame: "...)
	h = appendAligned(h, number)
	h = append(h, "\r\n\r\n"...)

	f.buf = append(jpeg, boundary...)
	f.jpeg = f.buf[headerRoom:len(jpeg)]
	f.part = f.buf[headerRoom-len(h):]
	copy(f.part, h)
	f.at, f.number = at, number
}

// appendAligned appends the last value of a header, behind spaces that make the header end
// at a multiple of wordSize. Spaces there mean nothing (RFC 9110, section 5.5).
func appendAligned(h []byte, number uint32) []byte {
	var room [10]byte
	digits := strconv.AppendUint(room[:0], uint64(number), 10)
	for (len(h)+len(digits)+len("\r\n\r\n"))%wordSize != 0 {
		h = append(h, ' ')
	}
	return append(h, digits...)
}

// jpegBuffer is where the camera appends the JPEG: the frame's buffer, empty but
// for the place of the header.
func (f *frame) jpegBuffer() []byte {
	return f.buf[:headerRoom]
}

// acquire takes a reference, unless the frame has none: then it was replaced and
// released since the caller loaded it.
func (f *frame) acquire() bool {
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back.
func (f *frame) release() {
	if f.refs.Add(-1) == 0 {
		f.stream.putFrame(f)
	}
}

// appendSeconds appends t as seconds.microseconds since 1970, wall clock.
func appendSeconds(b []byte, t time.Time) []byte {
	micros := max(t.UnixMicro(), 0)
	b = strconv.AppendInt(b, micros/1e6, 10)
	point := len(b)
	b = strconv.AppendInt(b, 1e6+micros%1e6, 10) // all six digits, after a 1
	b[point] = '.'
	return b
}

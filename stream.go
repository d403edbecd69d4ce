package main

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"porthole/mjpeg"
)

const (
	// boundary separates the parts of the stream. Each part carries the one
	// that ends it, so that a browser can paint it when its last byte is there.
	boundary = "\r\n--frame\r\n"

	// headerRoom is what a frame's buffer keeps free in front of the JPEG for
	// the part's header, in bytes. The longest header has 120.
	headerRoom = 128

	// wordSize is what a part begins and ends at a multiple of, in bytes. The kernel
	// of a Pi Zero then copies it into a socket by whole words, which takes 9 us for
	// 28 KB on an emulated one (.ci/pizero). Otherwise it shifts every word into
	// place: 39 us, for each client and frame.
	wordSize = 4

	// maxFree is how many frames that nobody holds are kept for reuse. A
	// stream without stalled clients needs three: newest, next, on its way.
	// There are never more than these, the newest, one that is being filled
	// and one for each client that took a part of it.
	maxFree = 8

	// Chromium and WebKit paint a picture when the header of the next one
	// arrives. So the last picture goes out again when no new one followed
	// it soon, and then once a second, which also keeps proxies from giving up.
	repeatSoon  = 250 * time.Millisecond
	repeatLater = time.Second
)

// A frame is one picture, laid out once as it goes over the wire to everyone:
//
//	Content-Type: image/jpeg\r\n
//	Content-Length: 27904\r\n
//	X-Timestamp: 1700000000.123456\r\n
//	X-Frame:   42\r\n
//	\r\n
//	<JPEG>\r\n--frame\r\n
//
// A few spaces in the header and fill bytes in the JPEG have it begin and end at a
// multiple of wordSize.
//
// Clients share it, and nothing but turn changes while anyone holds it.
// The last holder's release puts it back among the stream's free frames.
type frame struct {
	stream  *stream
	part    []byte    // all of the above
	jpeg    []byte    // the picture alone, inside part
	buf     []byte    // what part and jpeg lie in
	at      time.Time // when the camera captured it
	number  uint32    // of the capture; a repeat keeps it
	settled bool      // comes from a camera whose exposure has settled

	refs atomic.Int32  // holders; 0 while free or being filled
	seq  atomic.Uint32 // of the publication that sent it last
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

// appendAligned appends the last value of a header, behind as many spaces as make
// the header end at a multiple of wordSize. No space there means anything (RFC 9110,
// section 5.5).
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
// let go since the caller looked.
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

// A stream brings a camera's frames to everyone who watches.
//
// There is one newest frame, and clients take it when they are ready for one:
// a slow client skips frames and never delays the camera or anyone else.
type stream struct {
	latest atomic.Pointer[frame] // the newest, nil without one
	clock  atomic.Uint32         // microseconds, as of the last publication

	start      time.Time // what clock counts from
	maxViewers int       // viewers at a time

	// mu is written by whoever publishes, joins or leaves, and only read
	// locked by those who wait: N woken clients do not queue for it.
	mu           sync.RWMutex
	cond         sync.Cond     // L is mu.RLocker(): a publication, or a viewer more or less
	seq          uint32        // counts publications: repeats too, and the end
	number       uint32        // of the newest capture
	interval     time.Duration // between the last two good ones in a row
	repeatAt     time.Time
	viewers      int       // clients, readers of the table and those who wait for a snapshot
	idleSince    time.Time // when the last viewer left
	closed       bool
	clients      map[*client]struct{}
	broadcasters []*broadcaster
	totals       totals
	rate         rate // of captured frames
	clientGroup  sync.WaitGroup

	link sync.Mutex // held while a slow client's frame leaves the board

	freeMu sync.Mutex // protects free
	free   []*frame
}

// totals count since the start.
type totals struct {
	frames  uint64 // captured
	repeats uint64
	clients uint64
	sent    uint64 // frames, over all clients
	bytes   uint64 // sent, over all clients
}

func newStream(maxViewers int) *stream {
	s := &stream{
		start:      time.Now(),
		maxViewers: maxViewers,
		clients:    make(map[*client]struct{}),
		free:       make([]*frame, 0, maxFree),
	}
	s.cond.L = s.mu.RLocker()
	for range runtime.GOMAXPROCS(0) {
		s.broadcasters = append(s.broadcasters, &broadcaster{stream: s})
	}
	return s
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

// publish makes f, with jpeg appended to its room, the newest frame.
func (s *stream) publish(f *frame, jpeg []byte, at time.Time) {
	now := time.Now()
	s.mu.Lock()
	s.number++
	s.seq++
	f.layOut(jpeg, at, s.number)
	f.seq.Store(s.seq)
	f.refs.Store(1) // the stream's own
	old := s.latest.Swap(f)
	s.updateClock(now)
	s.repeatAt = now.Add(repeatSoon)
	if f.settled {
		s.totals.frames++
		s.rate.count(s.clock.Load())
		if old != nil && old.settled {
			s.interval = at.Sub(old.at)
		}
	}
	s.mu.Unlock()
	s.cond.Broadcast()
	if old != nil {
		old.release()
	}
}

// repeat publishes the newest frame again, and without one just wakes the
// clients, until ctx ends. It sleeps while nobody watches.
func (s *stream) repeat(ctx context.Context) {
	defer context.AfterFunc(ctx, s.wake)()
	timer := time.NewTimer(repeatSoon)
	defer timer.Stop()
	for s.waitViewer(ctx) {
		// A new frame moves repeatAt without a word, so look often enough.
		timer.Reset(min(s.repeatIfDue(), repeatSoon))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// repeatIfDue returns how long it is until the next repeat.
func (s *stream) repeatIfDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if wait := s.repeatAt.Sub(now); wait > 0 {
		return wait
	}
	s.seq++
	if f := s.latest.Load(); f != nil {
		f.seq.Store(s.seq)
		s.totals.repeats++
	}
	s.updateClock(now)
	s.repeatAt = now.Add(repeatLater)
	s.cond.Broadcast()
	return repeatLater
}

// wakeClients wakes all clients, without a new frame or a repeated one.
func (s *stream) wakeClients() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.updateClock(time.Now())
	s.cond.Broadcast()
}

// updateClock sets the clock that clients go by: to ask the system for the time is a
// system call on ARMv6, too dear for each client and frame. mu is held.
func (s *stream) updateClock(now time.Time) {
	s.clock.Store(uint32(now.Sub(s.start).Microseconds()))
}

// newest returns the newest frame, held for the caller, or nil. No lock: a
// frame that gets away between the look and the hold has a successor.
func (s *stream) newest() *frame {
	for {
		f := s.latest.Load()
		if f == nil || f.acquire() {
			return f
		}
	}
}

// lastInterval returns the time between the last two pictures of the camera; 0 when
// there were none yet.
func (s *stream) lastInterval() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.interval
}

// dropLatest drops the newest frame: it would be old news for the next viewer.
func (s *stream) dropLatest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = rate{}
	if old := s.latest.Swap(nil); old != nil {
		old.release()
	}
}

// frameAfter waits for a good frame captured after t, or for the end of ctx, and
// returns it held.
func (s *stream) frameAfter(ctx context.Context, t time.Time) (*frame, error) {
	defer context.AfterFunc(ctx, s.wake)()
	var turn uint32
	for s.waitPublication(ctx, &turn) {
		f := s.newest()
		if f == nil {
			continue
		}
		if f.settled && f.at.After(t) {
			return f, nil
		}
		f.release()
	}
	return nil, ctx.Err()
}

// waitPublication waits for a publication after turn and notes it there. The caller
// wakes the stream when ctx ends; then it is false.
func (s *stream) waitPublication(ctx context.Context, turn *uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for s.seq == *turn && ctx.Err() == nil {
		s.cond.Wait()
	}
	*turn = s.seq
	return ctx.Err() == nil
}

// waitViewer waits for a viewer. It is false when ctx ends, if the caller wakes
// the stream then.
func (s *stream) waitViewer(ctx context.Context) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for s.viewers == 0 && ctx.Err() == nil {
		s.cond.Wait()
	}
	return ctx.Err() == nil
}

// idleTime returns for how long nobody has been watching.
func (s *stream) idleTime() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.viewers > 0 {
		return 0
	}
	return time.Since(s.idleSince)
}

// wake lets everyone who waits look again. It takes the lock so as not to
// slip in between a look and the wait after it.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

// addViewer counts a viewer in: false when the house is full or closed.
func (s *stream) addViewer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.viewers >= s.maxViewers {
		return false
	}
	s.viewers++
	now := time.Now()
	s.updateClock(now)
	if soon := now.Add(repeatSoon); soon.Before(s.repeatAt) {
		s.repeatAt = soon // for the first picture of the one who came
	}
	if s.viewers == 1 {
		s.cond.Broadcast()
	}
	return true
}

// removeViewer counts a viewer out.
func (s *stream) removeViewer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers--
	s.idleSince = time.Now()
}

// close ends every client, each after the frame it is being sent if that
// takes no longer than grace.
func (s *stream) close(grace time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.seq++
	for c := range s.clients {
		c.state.Store(stateGone)
		c.conn.SetWriteDeadline(time.Now().Add(grace))
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	s.clientGroup.Wait()
}

// rate measures how often something happens, over about a second.
type rate struct {
	since uint32  // microseconds, on the stream's clock; 0 before the first
	n     uint32  // counted since then
	hertz float32 // of the period before
}

// count counts one at now, in microseconds. The first only starts the clock.
func (r *rate) count(now uint32) {
	if r.since == 0 {
		r.since = now
		return
	}
	r.n++
	r.measure(now, 1e6)
}

// measure closes the period when it is as long as that, in microseconds.
func (r *rate) measure(now, long uint32) {
	if span := now - r.since; r.since != 0 && span >= long {
		r.hertz = float32(r.n) * 1e6 / float32(span)
		r.since, r.n = now, 0
	}
}

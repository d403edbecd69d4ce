package mjpeg

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

const (
	// maxPicture is more than any camera sends, in bytes.
	maxPicture = 16 << 20

	// readSize is the size of a read: all that a pipe holds, 64 KB on Linux, so that
	// nothing old stays in it.
	readSize = 64 << 10
)

// A Splitter cuts a stream of JPEGs that follow each other into pictures. Its zero value
// is ready to use: call Next until it returns nil, then Fill, and so on. A [Repairer] finds
// out whether a picture is whole.
//
// It goes from marker to marker. A search for the end would be simpler, but many pictures
// contain a thumbnail, which has an end of its own.
type Splitter struct {
	buf    []byte
	start  int  // of the picture in buf; the bytes before it were returned or skipped
	pos    int  // in buf, of the next marker or before it; beyond its end if that has not come yet
	inside bool // a picture has begun at start
	scan   bool // pos is inside the entropy-coded data of a scan
	scans  bool // a scan has begun, so the picture may end
}

// Fill reads from r once, and returns the error of that. Pictures that Next has returned
// are no longer valid then.
func (s *Splitter) Fill(r io.Reader) error {
	if s.start > 0 { // or each read would copy all of a large picture
		s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
		s.pos -= s.start
		s.start = 0
	}
	s.buf = slices.Grow(s.buf, readSize)
	n, err := r.Read(s.buf[len(s.buf) : len(s.buf)+readSize])
	s.buf = s.buf[:len(s.buf)+n]
	return err
}

// Next returns the next picture, or nil if more has to be read first. A picture ends with EOI
// or, if that is missing, where the next one begins. Next skips bytes between pictures.
// ErrDamaged says that a picture began and did not go on as one; any other error that this is
// no stream of pictures, as it has one of more than 16 MB.
func (s *Splitter) Next() ([]byte, error) {
	if !s.inside && !s.begin() {
		return nil, nil
	}
	for {
		s.skipData()
		if s.pos-s.start > maxPicture {
			return nil, fmt.Errorf("a picture of more than %d MB", maxPicture>>20)
		}
		if s.pos+2 > len(s.buf) {
			return nil, nil
		}
		switch marker := s.buf[s.pos+1]; {
		case marker == 0xff:
			s.pos++ // the first is fill (B.1.1.2)
		case marker == 0 || isAlone(marker):
			s.pos += 2
		case s.scans && marker == markerEOI:
			return s.take(s.pos + 2), nil
		case s.scans && marker == markerSOI:
			return s.take(s.pos), nil
		case marker == markerSOI || marker == markerEOI:
			return nil, s.drop(damageScan)
		case s.scan && !mayFollowScan(marker):
			return nil, s.drop(damageMarker)
		default:
			if s.pos+4 > len(s.buf) {
				return nil, nil
			}
			length := int(s.buf[s.pos+2])<<8 | int(s.buf[s.pos+3])
			if length < 2 {
				return nil, s.drop(damageHeader)
			}
			s.pos += 2 + length
			s.scan = marker == markerSOS
			s.scans = s.scans || s.scan
		}
	}
}

// begin skips to the start of the next picture, and reports whether there is one.
func (s *Splitter) begin() bool {
	rest := s.buf[s.start:]
	i := bytes.Index(rest, []byte{0xff, markerSOI})
	if i < 0 {
		s.start = len(s.buf)
		if bytes.HasSuffix(rest, []byte{0xff}) {
			s.start-- // it may be half a marker
		}
		return false
	}
	s.start += i
	s.pos = s.start + 2
	s.inside, s.scan, s.scans = true, false, false
	return true
}

// skipData moves to the next FF, over the data of a scan or bytes that do not belong between
// segments.
func (s *Splitter) skipData() {
	if s.pos >= len(s.buf) {
		return
	}
	i := indexFF(s.buf[s.pos:])
	if i < 0 {
		i = len(s.buf) - s.pos
	}
	s.pos += i
}

// take ends the picture at an offset, and returns it.
func (s *Splitter) take(end int) []byte {
	picture := s.buf[s.start:end]
	s.start = end
	s.inside = false
	return picture
}

// drop gives up the picture. The search for the next one begins where this one went
// wrong: before that it would find the thumbnail.
func (s *Splitter) drop(why error) error {
	s.start = s.pos
	s.inside = false
	return why
}

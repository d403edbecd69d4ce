package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

const (
	// maxPicture is more than any camera sends, in bytes.
	maxPicture = 16 << 20

	// fillSize is how much is read at once: all that a pipe holds, 64 KB on
	// Linux, so that nothing old stays behind in it.
	fillSize = 64 << 10
)

// A splitter cuts JPEGs that follow each other in a stream into pictures.
//
// It walks from marker to marker. To search for the end would be simpler, but
// finds that of the thumbnail which many pictures have inside.
type splitter struct {
	buf    []byte
	start  int  // of the picture in buf; what is before it was given out
	at     int  // where the walk is in buf; behind its end while that has not come
	inside bool // a picture has begun at start
	scan   bool // at is inside the entropy-coded data of a scan
	scans  bool // a scan has begun: the picture may end
}

// fill reads once. The pictures that next returned are no longer valid then.
func (s *splitter) fill(r io.Reader) error {
	s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
	s.at -= s.start
	s.start = 0
	s.buf = slices.Grow(s.buf, fillSize)
	n, err := r.Read(s.buf[len(s.buf) : len(s.buf)+fillSize])
	s.buf = s.buf[:len(s.buf)+n]
	return err
}

// next returns the next complete picture, or nil when more has to be read
// first. errDamaged is a picture that began and did not go on as one; what is
// between pictures is skipped.
func (s *splitter) next() ([]byte, error) {
	if !s.inside && !s.begin() {
		return nil, nil
	}
	for {
		if s.scan && s.at < len(s.buf) {
			s.skipData()
		}
		if s.at-s.start > maxPicture {
			return nil, fmt.Errorf("a picture of more than %d MB", maxPicture>>20)
		}
		if s.at+2 > len(s.buf) {
			return nil, nil
		}
		if s.buf[s.at] != 0xff {
			return nil, s.drop()
		}
		switch marker := s.buf[s.at+1]; {
		case marker == 0xff:
			s.at++ // the first is fill (T.81, B.1.1.2)
		case s.scan && (marker == 0 || marker&^7 == markerRST):
			s.at += 2
		case s.scans && marker == markerEOI:
			return s.take(), nil
		case marker <= markerTEM || marker >= markerRST && marker <= markerEOI:
			return nil, s.drop() // these have no length: they are no segments
		default:
			if s.at+4 > len(s.buf) {
				return nil, nil
			}
			length := int(s.buf[s.at+2])<<8 | int(s.buf[s.at+3])
			if length < 2 {
				return nil, s.drop()
			}
			s.at += 2 + length
			s.scan = marker == markerSOS
			s.scans = s.scans || s.scan
		}
	}
}

// begin skips to where the next picture begins, and reports whether it does.
func (s *splitter) begin() bool {
	rest := s.buf[s.start:]
	i := bytes.Index(rest, []byte{0xff, markerSOI})
	if i < 0 {
		s.start = len(s.buf)
		if bytes.HasSuffix(rest, []byte{0xff}) {
			s.start-- // which may be half a marker
		}
		return false
	}
	s.start += i
	s.at = s.start + 2
	s.inside, s.scan, s.scans = true, false, false
	return true
}

// skipData moves to the next FF. Inside the data of a scan 00 or a restart
// marker follows it (T.81, F.1.2.3), behind it another.
func (s *splitter) skipData() {
	i := bytes.IndexByte(s.buf[s.at:], 0xff)
	if i < 0 {
		i = len(s.buf) - s.at
	}
	s.at += i
}

// take ends the picture behind the marker at which the walk is.
func (s *splitter) take() []byte {
	picture := s.buf[s.start : s.at+2]
	s.start = s.at + 2
	s.inside = false
	return picture
}

// drop gives up the picture. The next one is not searched for before the place
// where this one went wrong, for that would find the thumbnail.
func (s *splitter) drop() error {
	s.start = s.at
	s.inside = false
	return errDamaged
}

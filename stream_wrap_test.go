package main

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// The stream goes on when the number of frames has no more bits, after years, and when its clock,
// of 32 bits in microseconds, starts again, which it does each 71 minutes.
func TestStreamWraps(t *testing.T) {
	for name, set := range map[string]func(s *stream){
		"number": func(s *stream) { s.number = math.MaxUint32 - 50 },
		"clock":  func(s *stream) { s.start = s.start.Add(-(1<<32*time.Microsecond - 5*time.Second)) },
		"both": func(s *stream) {
			s.number = math.MaxUint32 - 50
			s.start = s.start.Add(-(1<<32*time.Microsecond - 5*time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startStream(t)
				set(s)
				all, some := newViewer(t, s, 0), newViewer(t, s, 200*time.Millisecond)
				for range 100 { // 10 s
					publishJPEG(s, testJPEG(frameSize+1024, 'w'))
					time.Sleep(100 * time.Millisecond)
				}
				if got := len(all.received()); got != 100 {
					t.Errorf("a viewer got %d frames of 100", got)
				}
				if got := len(some.received()); got < 48 || got > 52 {
					t.Errorf("a viewer of 5 a second got %d frames in 10 s", got)
				}
				time.Sleep(5 * time.Second) // repeats come
				if got := len(all.received()); got < 104 || got > 107 {
					t.Errorf("%d frames came, with repeats each second; want about 105", got)
				}
				for _, v := range []*viewer{all, some} {
					if err := v.ended(); err != nil {
						t.Errorf("a viewer was disconnected: %v", err)
					}
				}
				if state := s.state(); state.List[0].Skipped > 0 {
					t.Errorf("%d frames were skipped", state.List[0].Skipped)
				}
			})
		})
	}
}

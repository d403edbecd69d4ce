package main

import (
	"net/http"
	"time"
)

const (
	// maxHeld is how many bytes the frames may take that clients hold back, at most: what a
	// hundred viewers on slow links need for frames of 160 KB. On a board with little
	// memory it is one part of memoryParts: 4 MB of 64. Of large frames it is minHeld.
	maxHeld     = 16 << 20
	memoryParts = 16
	minHeld     = 8 // frames
)

// heldLimit returns how many bytes of frames clients may hold back where there is that much
// memory; 0: not known.
func heldLimit(memory uint64) int {
	if memory == 0 {
		return maxHeld
	}
	return int(min(memory/memoryParts, maxHeld))
}

// A replacedFrame is a frame that has a successor. Clients whose sockets took only a part of it
// may still hold it back.
type replacedFrame struct {
	*frame
	number uint32 // of the frame when it was replaced: another if it has been used again
}

// isHeld reports whether anybody still holds the frame.
func (r replacedFrame) isHeld() bool {
	return r.refs.Load() > 0 && r.frame.number == r.number
}

// replace releases a frame that has a successor now, or was dropped, and notes it for limitHeld.
// The caller publishes frames; s.mu is held.
func (s *stream) replace(old *frame) {
	old.release()
	s.replaced = append(s.replaced, replacedFrame{old, old.number})
}

// limitHeld drops the clients that have held frames back for longest, until those frames take
// no more memory than they may. The caller publishes frames, of which one like newest comes
// next; s.mu is held.
func (s *stream) limitHeld(newest *frame) {
	held := s.replaced[:0]
	excess := -max(s.heldLimit, minHeld*cap(newest.buf))
	for _, r := range s.replaced {
		if r.isHeld() {
			held = append(held, r)
			excess += cap(r.buf)
		}
	}
	clear(s.replaced[len(held):])
	s.replaced = held
	for _, r := range held {
		if excess <= 0 {
			return
		}
		s.dropHolders(r.number)
		excess -= cap(r.buf)
	}
}

// dropHolders drops all who hold a frame back. It is called again with the next frame if any
// of them has yet to let go of it. s.mu is held.
func (s *stream) dropHolders(number uint32) {
	for c := range s.clients {
		if c.holdsBack.Load() == number {
			c.end(0)
		}
	}
	for w, n := range s.snapshots {
		if n == number {
			w.SetWriteDeadline(time.Now())
		}
	}
}

// addSnapshot notes that a frame is held while it is sent as a snapshot.
func (s *stream) addSnapshot(w *http.ResponseController, number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots[w] = number
}

// removeSnapshot ends what addSnapshot began.
func (s *stream) removeSnapshot(w *http.ResponseController) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.snapshots, w)
}

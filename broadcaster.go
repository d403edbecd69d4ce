package main

import (
	"slices"
	"sync"
)

// A broadcaster takes each new frame round to its share of the clients: those whose
// sockets take it without waiting, which is nearly always so. A client whose
// socket is full is given back to its own goroutine, which waits for it, and
// returns to the broadcaster when it has caught up.
//
// It saves one wake-up and switch of a goroutine for each client and frame. To
// bring a frame to 40 clients whose sockets cost nothing takes 82 us on an
// emulated Pi Zero, and 368 us without broadcasters (BenchmarkRound). A stream has as
// many broadcasters as the program may use cores, and each of them runs while it has
// clients.
type broadcaster struct {
	stream   *stream
	seq      uint32 // of the publication it went round with last
	assigned int    // its share; stream.mu protects it
	running  bool   // stream.mu too

	mu      sync.Mutex // protects round, and the clients in there
	clients []*client  // those it serves: the others wait for their sockets
}

// assignBroadcaster gives a client to the broadcaster that has the fewest. s.mu is held.
func (s *stream) assignBroadcaster() *broadcaster {
	k := slices.MinFunc(s.broadcasters, func(a, b *broadcaster) int { return a.assigned - b.assigned })
	k.assigned++
	if !k.running {
		k.running = true
		go k.run()
	}
	return k
}

// run goes round at each publication, as long as there are clients.
func (b *broadcaster) run() {
	for b.wait() {
		b.mu.Lock()
		b.clients = slices.DeleteFunc(b.clients, (*client).sendOrReturn)
		b.mu.Unlock()
	}
}

// wait waits for a publication after the last one. It is false when there is
// no client left.
func (b *broadcaster) wait() bool {
	s := b.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	for b.seq == s.seq && b.assigned > 0 {
		s.cond.Wait()
	}
	b.seq = s.seq
	b.running = b.assigned > 0
	return b.running
}

// handle has the broadcaster send frames to c until c has to see to something
// itself. The caller is c's goroutine, which keeps the socket open meanwhile.
func (b *broadcaster) handle(c *client) {
	if b.add(c) {
		<-c.returned
	}
}

// add is false if c has to see to something at once. A frame that comes after
// the look finds c in the round.
func (b *broadcaster) add(c *client) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.state.Load() != stateOpen || c.ready() {
		return false
	}
	b.clients = append(b.clients, c)
	return true
}

// sendOrReturn sends c the newest frame, unless that was sent or is not due. It reports
// whether c was given back to its own goroutine: when it is to go or to be watched,
// or its socket did not take all of the frame.
func (c *client) sendOrReturn() bool {
	if c.state.Load() == stateOpen && (!c.due() || c.send() == nil && c.held == nil) {
		return false
	}
	c.returned <- struct{}{}
	return true
}

package main

import (
	"slices"
	"sync"
)

// A courier takes each new frame round to its share of the clients: those whose
// sockets take it without waiting, which is nearly always so. A client whose
// socket is full is given back to its own goroutine, which waits for it, and
// returns to the courier when it has caught up.
//
// It saves one wake-up and switch of a goroutine for each client and frame. To
// bring a frame to 40 clients whose sockets cost nothing takes 82 us on an
// emulated Pi Zero, and 368 us without couriers (BenchmarkRound). A stream has as
// many couriers as the program may use cores, and each of them runs while it has
// clients.
type courier struct {
	stream  *stream
	turn    uint32 // of the publication it went round with last
	clients int    // its share; stream.mu protects it
	running bool   // stream.mu too

	mu    sync.Mutex // protects round, and the clients in there
	round []*client  // those it serves: the others wait for their sockets
}

// hire gives a client to the courier that has the fewest. s.mu is held.
func (s *stream) hire() *courier {
	k := slices.MinFunc(s.couriers, func(a, b *courier) int { return a.clients - b.clients })
	k.clients++
	if !k.running {
		k.running = true
		go k.run()
	}
	return k
}

// run goes round at each publication, as long as there are clients.
func (k *courier) run() {
	for k.wait() {
		k.mu.Lock()
		k.round = slices.DeleteFunc(k.round, (*client).returned)
		k.mu.Unlock()
	}
}

// wait waits for a publication after the last one. It is false when there is
// no client left.
func (k *courier) wait() bool {
	s := k.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	for k.turn == s.turn && k.clients > 0 {
		s.cond.Wait()
	}
	k.turn = s.turn
	k.running = k.clients > 0
	return k.running
}

// serve has the courier send frames to c until c has to see to something
// itself. The caller is c's goroutine, which keeps the socket open meanwhile.
func (k *courier) serve(c *client) {
	if k.admit(c) {
		<-c.back
	}
}

// admit is false if c has to see to something at once. A frame that comes after
// the look finds c in the round.
func (k *courier) admit(c *client) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.state.Load() != stateOpen || c.ready() {
		return false
	}
	k.round = append(k.round, c)
	return true
}

// returned sends c the newest frame, unless that was sent or is not due. It reports
// whether c was given back to its own goroutine: when it is to go or to be watched,
// or its socket did not take all of the frame.
func (c *client) returned() bool {
	if c.state.Load() == stateOpen && (!c.due() || c.send() == nil && c.held == nil) {
		return false
	}
	c.back <- struct{}{}
	return true
}

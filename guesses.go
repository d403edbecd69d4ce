package main

import (
	"context"
	"log"
	"net/netip"
	"sync"
	"time"
)

const (
	// freeGuesses is how many wrong passwords an address may send before the answers to more of
	// them are slowed to one per guessTime.
	freeGuesses = 5
	guessTime   = time.Second

	// Wrong passwords are remembered for guessMemory, of at most maxGuessers addresses. Of an
	// address at most maxGuessQueue requests wait: for less than clientTimeout together. Of all
	// addresses, maxGuessesQueued do, or they could keep all connections busy: less than
	// otherConnections.
	guessMemory      = 10 * time.Minute
	maxGuessers      = 256
	maxGuessQueue    = 8
	maxGuessesQueued = 32
)

// guesses slow down who guesses passwords. After a few wrong ones, an address gets one answer at a
// time. A wrong password takes a second of that, and what comes meanwhile waits for its turn, even
// with the right password: if that was answered at once, many could be tried at once. The right
// password alone never waits.
type guesses struct {
	log *log.Logger

	mu     sync.Mutex // protects these
	from   map[string]*guesser
	queued int // requests of all that wait or are answered
	lines  spacedLines
}

// A guesser is an address that wrong passwords came from.
type guesser struct {
	turn chan struct{} // has room for the one request that is answered

	// mu of the guesses protects these.
	wrong  int
	last   time.Time // when the last wrong password came
	queued int       // requests that wait or are answered
}

func newGuesses(logger *log.Logger) *guesses {
	return &guesses{log: logger, from: make(map[string]*guesser)}
}

// await waits until the one who sent a password from an address may know whether it is right. It is
// false if too many wait already, or ctx ends.
func (g *guesses) await(ctx context.Context, remote string, right bool) bool {
	one, ok := g.enter(guesserAddress(remote), right)
	if one == nil {
		return ok
	}
	defer g.leave(one)
	select {
	case one.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if !right {
		time.Sleep(guessTime) // whether its client stays or not
	}
	<-one.turn
	return true
}

// enter notes that a password came from an address. It returns the guesser whose turn is to be
// awaited; nil if none is. It is false if too many wait.
func (g *guesses) enter(address string, right bool) (one *guesser, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one = g.from[address]
	if one == nil || time.Since(one.last) > guessMemory {
		if right {
			return nil, true
		}
		one = g.add(address)
	}
	if !right {
		one.wrong++
		one.last = time.Now()
	}
	if one.wrong <= freeGuesses {
		return nil, true
	}
	if one.queued >= maxGuessQueue || g.queued >= maxGuessesQueued {
		return nil, false
	}
	one.queued++
	g.queued++
	g.logSlowed(address)
	return one, true
}

// leave ends what enter began.
func (g *guesses) leave(one *guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one.queued--
	g.queued--
}

// add adds a guesser in place of one at the same address, or of the one who has been silent for
// longest if there are too many. mu is held.
func (g *guesses) add(address string) *guesser {
	delete(g.from, address)
	if len(g.from) >= maxGuessers {
		oldest := address
		for at, one := range g.from {
			if oldest == address || one.last.Before(g.from[oldest].last) {
				oldest = at
			}
		}
		delete(g.from, oldest)
	}
	one := &guesser{turn: make(chan struct{}, 1)}
	g.from[address] = one
	return one
}

// logSlowed logs that an address is slowed, unless there was such a line lately. mu is held.
func (g *guesses) logSlowed(address string) {
	if g.lines.due() {
		g.log.Printf("%s: more than %d wrong passwords: the next ones are answered slowly", address, freeGuesses)
	}
}

// guesserAddress returns the address of a client as one that passwords are guessed from: of IPv6,
// its network, since one machine has as many addresses there as it likes.
func guesserAddress(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "the unix socket"
	}
	ip := at.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64)
	return network.String()
}

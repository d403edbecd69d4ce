package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestGuesses(w io.Writer) *guesses {
	return newGuesses(log.New(w, "", 0))
}

// guess sends n passwords one after the other and returns how long that took.
func (g *guesses) guess(t *testing.T, remote string, right bool, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		if !g.await(t.Context(), remote, right) {
			t.Errorf("%s: too many guesses", remote)
		}
	}
	return time.Since(start)
}

// A few wrong passwords are mistakes, more of them are guesses. The right one does not wait.
func TestGuessesAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		g := newTestGuesses(&said)
		const anna, other = "192.0.2.7:40000", "192.0.2.8:40000"
		for _, tt := range []struct {
			what, remote string
			right        bool
			n            int
			want         time.Duration
		}{
			{"right ones", anna, true, 100, 0},
			{"the first wrong ones", anna, false, 5, 0},
			{"right ones after that", anna, true, 100, 0},
			{"more wrong ones", "192.0.2.7:40001", false, 10, 10 * time.Second},
			{"a right one after that", anna, true, 1, 0},
			{"another address", other, false, 5, 0},
		} {
			if took := g.guess(t, tt.remote, tt.right, tt.n); took != tt.want {
				t.Errorf("%s: took %v, want %v", tt.what, took, tt.want)
			}
		}
		time.Sleep(guessMemory + time.Second)
		if took := g.guess(t, anna, false, 5); took != 0 {
			t.Errorf("after a pause: took %v, want none", took)
		}
		if want := "192.0.2.7: more than 5 wrong passwords: the next ones are answered slowly\n"; said.String() != want {
			t.Errorf("it logged %q, want %q", &said, want)
		}
	})
}

// Many connections guess no faster than one, and what they do not wait for, they do not learn.
func TestGuessesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGuesses(io.Discard)
		g.guess(t, "192.0.2.7:1", false, freeGuesses)
		start := time.Now()
		answers := make(chan bool)
		for range 100 {
			ctx, hangUp := context.WithTimeout(t.Context(), 10*time.Millisecond)
			t.Cleanup(hangUp)
			go func() { answers <- g.await(ctx, "192.0.2.7:1", false) }()
			synctest.Wait()
		}
		right := make(chan time.Duration)
		go func() {
			for !g.await(t.Context(), "192.0.2.7:2", true) {
				time.Sleep(time.Millisecond)
			}
			right <- time.Since(start)
		}()
		looked := 0
		for range 100 {
			if <-answers {
				looked++
			}
		}
		if looked != 1 {
			t.Errorf("%d of 100 passwords were looked at in the first second, want 1", looked)
		}
		if took := <-right; took > guessTime {
			t.Errorf("the right password of another client there waited %v, want no more than %v", took, guessTime)
		}
	})
}

// While wrong ones keep coming from an address, the right one has its turn among them.
func TestGuessesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGuesses(io.Discard)
		g.guess(t, "192.0.2.7:1", false, freeGuesses)
		for range maxGuessQueue - 1 {
			go g.await(t.Context(), "192.0.2.7:1", false)
			synctest.Wait()
		}
		if took := g.guess(t, "192.0.2.7:2", true, 1); took != (maxGuessQueue-1)*guessTime || took > clientTimeout {
			t.Errorf("the right one took %v", took)
		}
		if one := g.from[guesserAddress("192.0.2.7:1")]; one.queued != 0 || len(one.turn) != 0 {
			t.Errorf("%d are still waiting, %d answered", one.queued, len(one.turn))
		}
	})
}

// However many addresses guess, only so many wait, and the right password from another one does not.
func TestGuessesOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGuesses(io.Discard)
		refused := 0
		for i := range 100 {
			remote := fmt.Sprintf("10.0.0.%d:1", i)
			g.guess(t, remote, false, freeGuesses)
			for range maxGuessQueue {
				go func() {
					if !g.await(t.Context(), remote, false) {
						refused++
					}
				}()
				synctest.Wait()
			}
		}
		if want := 100*maxGuessQueue - maxGuessesQueued; refused != want {
			t.Errorf("%d were refused, want %d", refused, want)
		}
		if took := g.guess(t, "192.0.2.7:1", true, 1); took != 0 {
			t.Errorf("the right password from another address took %v", took)
		}
		time.Sleep(maxGuessQueue * guessTime)
		synctest.Wait()
		if g.queued != 0 {
			t.Errorf("%d still wait", g.queued)
		}
	})
}

// However many addresses there are, as many are remembered: those that came last.
func TestGuessesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGuesses(io.Discard)
		for i := range 10_000 {
			g.guess(t, fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255), false, 1)
			time.Sleep(time.Millisecond)
		}
		if len(g.from) != maxGuessers {
			t.Errorf("%d addresses are remembered, want %d", len(g.from), maxGuessers)
		}
		for i := range 10_000 {
			address := guesserAddress(fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255))
			if known := g.from[address] != nil; known != (i >= 10_000-maxGuessers) {
				t.Fatalf("%v, the %dth of 10000: is remembered: %t", address, i, known)
			}
		}
	})
}

func TestGuesserAddress(t *testing.T) {
	for remotes, want := range map[string]string{
		"192.0.2.7:1 192.0.2.7:2 [::ffff:192.0.2.7]:3": "192.0.2.7",
		"[2001:db8:1:2::1]:1 [2001:db8:1:2:3:4:5:6]:2": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1 [fe80::2%eth0]:1":            "fe80::/64",
		"@ /run/porthole":                              "the unix socket",
	} {
		for remote := range strings.FieldsSeq(remotes) {
			if got := guesserAddress(remote); got != want {
				t.Errorf("%s: got %s, want %s", remote, got, want)
			}
		}
	}
}

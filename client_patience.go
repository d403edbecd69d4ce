package main

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// How it is found that a client is gone, or as good as that.

const (
	// clientTimeout is how long a client may take nothing before it is dropped.
	clientTimeout = 10 * time.Second

	// minClientRate is what a client must take to be no stalled one, bytes per second:
	// 64 kbit/s. A frame of 28 KB takes 3 s then. Nobody watches at less, and it would
	// keep a large frame in memory for long. It can't be much less, either: a socket
	// takes up to 64 KB at once, and that has to be seen within patience.
	minClientRate = 8 << 10

	// checkInterval is how often is looked what a client takes whose frame is stuck, and
	// firstCheck when that begins. It is later than extend comes again, once a second
	// and with the next frame, so that no timer goes off for a client that takes all:
	// that would cost a Pi Zero 1 us for each frame.
	checkInterval = time.Second
	firstCheck    = 3 * time.Second

	// maxInput is how much a client may say after its request, in bytes. It should be
	// silent, and to listen takes time.
	maxInput = 16 << 10

	// A client that has shut down its sending side gets a heartbeat at the first
	// publication after so long, to see whether it is still there; microseconds.
	heartbeatSpacing = 500_000
)

// heartbeat means nothing: one more line in the header of the part that comes next.
var heartbeat = []byte("X-Heartbeat: 1\r\n")

// What a client's state can be.
const (
	stateOpen       uint32 = iota
	stateHalfClosed        // it has shut down its sending side, or hung up: that looks the same
	stateGone              // it hung up, or is to go
)

// watchHangup waits for the client to hang up. It has nothing else to say. One that only
// shuts down its sending side, as BusyBox's nc does, still wants the stream (RFC
// 9112, section 9.6). TCP has the same sign for both, and more comes only when
// something is sent: see sendHeartbeat.
func (c *client) watchHangup() {
	var b [64]byte
	for said := 0; said < maxInput; {
		n, err := c.conn.Read(b[:])
		if said += n; errors.Is(err, io.EOF) {
			c.heartbeat = c.stream.clock.Load() // due now; from here on it is its sender's
			c.state.CompareAndSwap(stateOpen, stateHalfClosed)
			c.stream.wakeClients()
			for !c.isGone() && !hasHungUp(c.conn) {
				time.Sleep(probeTimeout)
			}
			break
		}
		if err != nil {
			break
		}
	}
	c.state.Store(stateGone)
	c.conn.Close() // a blocked write returns
	c.stream.wakeClients()
}

// isGone reports whether the client hung up, or is to go.
func (c *client) isGone() bool {
	return c.state.Load() == stateGone
}

// heartbeatDue reports whether the client is to be asked whether it is there.
func (c *client) heartbeatDue() bool {
	return c.state.Load() == stateHalfClosed && int32(c.stream.clock.Load()-c.heartbeat) >= 0
}

// sendHeartbeat sends one if it is due. Who is gone objects to it, which listen sees.
func (c *client) sendHeartbeat() error {
	if c.raw == nil || !c.heartbeatDue() {
		return nil
	}
	c.heartbeat = c.stream.clock.Load() + heartbeatSpacing
	n, err := trySend(c.fd, heartbeat)
	switch {
	case err == syscall.EAGAIN:
		return nil // it is busy with what came before
	case err == nil && n < len(heartbeat):
		return io.ErrShortWrite // what comes next would be a part of it
	}
	return err
}

// retryWrite has write go on when it runs out of time, as long as the client takes
// enough.
func (c *client) retryWrite(write func() error) error {
	for {
		err := write()
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.renewTimeout() {
			return err
		}
	}
}

// resetTimeout gives the client all its patience: once a second and not per frame, since
// a timer has to be set anew for it.
func (c *client) resetTimeout() {
	now := time.Now()
	c.giveUpAt, c.seenBytes = now.Add(clientTimeout), c.bytes
	c.setDeadline(now.Add(firstCheck))
}

// renewTimeout gives the client more time for the frame that it is being sent, as much
// as minClientRate allows for what it took since it was looked last. It is false when
// there is none left, or the stream is closed.
func (c *client) renewTimeout() bool {
	now := time.Now()
	earned := time.Duration(c.bytes-c.seenBytes) * time.Second / minClientRate
	c.giveUpAt, c.seenBytes = c.giveUpAt.Add(earned), c.bytes
	if full := now.Add(clientTimeout); c.giveUpAt.After(full) {
		c.giveUpAt = full
	}
	return now.Before(c.giveUpAt) && c.setDeadline(now.Add(checkInterval))
}

// setDeadline sets when a write is interrupted to look what the client takes, which is
// no later than giveUp. It is false when the stream was closed, which has set the last
// deadline.
func (c *client) setDeadline(next time.Time) bool {
	c.stream.mu.RLock()
	defer c.stream.mu.RUnlock()
	if c.stream.closed {
		return false
	}
	if next.After(c.giveUpAt) {
		next = c.giveUpAt
	}
	c.conn.SetWriteDeadline(next)
	return true
}

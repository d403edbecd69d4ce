package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"
)

const (
	// clientTimeout is how long a client may take nothing before it is dropped.
	clientTimeout = 10 * time.Second

	// minClientRate is what a client must take, or else it counts as stalled, in bytes per
	// second: 64 kbit/s. A frame of 28 KB takes 3 s then. Nobody watches at less, and a
	// slower client would keep a large frame in memory for long. It cannot be much less:
	// a socket takes up to 64 KB at once, which must show within clientTimeout.
	minClientRate = 8 << 10

	// A client that does not take its frame is checked each checkInterval, after
	// firstCheck. resetTimeout comes sooner than that, once a second and with the next
	// frame, so that no timer goes off for a client that takes every frame: that would
	// cost a Pi Zero 1 us for each.
	checkInterval = time.Second
	firstCheck    = 3 * time.Second

	// maxInput is how much a client may send after its request, in bytes. It should send
	// nothing, and reading takes time.
	maxInput = 16 << 10

	// heartbeatSpacing is the least time between the heartbeats for a client that has shut
	// down its sending side, in microseconds. They find out whether it is still there.
	heartbeatSpacing = 500_000
)

// heartbeat is one more line in the header of the next part. It means nothing.
var heartbeat = []byte("X-Heartbeat: 1\r\n")

// States of a client.
const (
	stateOpen       uint32 = iota
	stateHalfClosed        // it has shut down its sending side, or hung up, which looks the same
	stateGone              // it hung up, or is to go
)

// watchHangup waits until the client hangs up: it has nothing else to send. One that only
// shuts down its sending side, as BusyBox's nc does, still wants the stream (RFC 9112,
// section 9.6). TCP has the same sign for both until something is sent: see sendHeartbeat.
func (c *client) watchHangup() {
	defer c.hangUp()
	var b [64]byte
	for said := 0; said < maxInput; {
		n, err := c.conn.Read(b[:])
		if said += n; errors.Is(err, io.EOF) {
			c.heartbeat = c.stream.clock.Load() // due now; from here on it belongs to the goroutine that sends
			c.state.CompareAndSwap(stateOpen, stateHalfClosed)
			c.stream.wakeClients()
			for !c.isGone() && !c.stream.sockets.hasHungUp(c.conn) {
				time.Sleep(probeTimeout)
			}
			break
		}
		if err != nil {
			break
		}
	}
}

// hangUp has the client go at once.
func (c *client) hangUp() {
	c.state.Store(stateGone)
	c.conn.Close() // a blocked write returns
	c.stream.wakeClients()
}

// isGone reports whether the client hung up, or is to go.
func (c *client) isGone() bool {
	return c.state.Load() == stateGone
}

// end has the client go, after the frame that it is being sent if that takes no longer than
// grace. The stream's mu is held.
func (c *client) end(grace time.Duration) {
	c.state.Store(stateGone)
	c.conn.SetWriteDeadline(time.Now().Add(grace))
}

// heartbeatDue reports whether the client is due for a heartbeat.
func (c *client) heartbeatDue() bool {
	return c.state.Load() == stateHalfClosed && int32(c.stream.clock.Load()-c.heartbeat) >= 0
}

// sendHeartbeat sends one if it is due. If the client is gone, its system answers with a
// reset, which watchHangup sees.
func (c *client) sendHeartbeat() error {
	if c.raw == nil || !c.heartbeatDue() {
		return nil
	}
	c.heartbeat = c.stream.clock.Load() + heartbeatSpacing
	n, err := c.write(heartbeat)
	switch {
	case err == syscall.EAGAIN:
		return nil // it has yet to take an earlier frame
	case err == nil && n < len(heartbeat):
		return io.ErrShortWrite // the next part would follow half of it
	}
	return err
}

// retryWrite calls write again when it runs out of time, as long as the client takes enough.
func (c *client) retryWrite(write func() error) error {
	for {
		err := write()
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.renewTimeout() {
			return err
		}
	}
}

// resetTimeout gives the client the whole clientTimeout. It is called once a second and not
// per frame, because it sets a timer.
func (c *client) resetTimeout() {
	now := time.Now()
	c.giveUpAt, c.seenBytes = now.Add(clientTimeout), c.bytes
	if c.tls != nil && c.raw == nil {
		c.setDeadline(c.giveUpAt) // TLS cannot go on after an interrupted write
		return
	}
	c.setDeadline(now.Add(firstCheck))
}

// renewTimeout gives the client more time for its frame: as much as minClientRate allows for
// the bytes that it took since the last check. It is false if no time is left, or the client
// is to go.
func (c *client) renewTimeout() bool {
	now := time.Now()
	earned := time.Duration(c.bytes-c.seenBytes) * time.Second / minClientRate
	c.giveUpAt, c.seenBytes = c.giveUpAt.Add(earned), c.bytes
	if full := now.Add(clientTimeout); c.giveUpAt.After(full) {
		c.giveUpAt = full
	}
	return now.Before(c.giveUpAt) && c.setDeadline(now.Add(checkInterval))
}

// setDeadline sets when a write is interrupted to check the client, at giveUpAt at the latest.
// It is false if the client is to go: end has set the last deadline.
func (c *client) setDeadline(next time.Time) bool {
	c.stream.mu.RLock()
	defer c.stream.mu.RUnlock()
	if c.isGone() {
		return false
	}
	if next.After(c.giveUpAt) {
		next = c.giveUpAt
	}
	c.conn.SetWriteDeadline(next)
	return true
}

const (
	// maxChunk is how much of a response a client has to take within clientTimeout, in
	// bytes: half of what minClientRate allows, since sockets take it in lumps.
	maxChunk = minClientRate * int(clientTimeout/time.Second) / 2

	// A client that has shut down its sending side gets a probe after probeAfter. If it is
	// gone, its system has answered with a reset after probeTimeout.
	probeAfter   = 1500 * time.Millisecond
	probeTimeout = 400 * time.Millisecond
)

// extendDeadline gives a client clientTimeout for the next write.
func extendDeadline(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(clientTimeout))
}

// sendBody writes b, however long that takes, while the client takes enough of it.
func sendBody(w http.ResponseWriter, b []byte) error {
	for piece := range slices.Chunk(b, maxChunk) {
		extendDeadline(w)
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// A connection is what a request came over.
type connection struct {
	conn   net.Conn
	server context.Context // ends when the program does

	sockets socketCalls
}

type connectionKey struct{}

// acceptConn prepares a connection that was accepted, and puts it into the context of its
// requests.
func (s socketCalls) acceptConn(ctx context.Context, conn net.Conn) context.Context {
	if tcp, ok := socketBelow(conn).(*net.TCPConn); ok && s.limitSilence != nil {
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(s.limitSilence)
		}
	}
	return context.WithValue(ctx, connectionKey{}, &connection{conn, ctx, s})
}

// hasHungUp reports whether it is known that the other end of conn, which sends nothing any
// more, is closed. It is true if the system does not tell.
func (s socketCalls) hasHungUp(conn net.Conn) bool {
	sc, ok := socketBelow(conn).(syscall.Conn)
	if !ok || s.isHungUp == nil {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	hungUp := false
	err = raw.Control(func(fd uintptr) { hungUp = s.isHungUp(fd) })
	return hungUp || err != nil
}

// untilHangup returns a context that ends when the client of r is gone, or the program
// ends. That of r also ends when the client has shut down its sending side, as BusyBox's
// nc does, and some load balancers. Such a client still wants its answer (RFC 9112,
// section 9.6).
//
// TCP has the same sign for both, until something is sent: who is gone objects. That is
// what nudge is for: it sends something that means nothing, or ends the wait by an
// error. It is called from another goroutine, but not after end has returned, which panics if
// it has.
func untilHangup(r *http.Request, probe func() error) (ctx context.Context, end func()) {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return context.WithCancel(r.Context())
	}
	ctx, cancel := context.WithCancel(c.server)
	ended := make(chan *panicError, 1)
	stop := context.AfterFunc(r.Context(), func() {
		defer cancel()
		ended <- catch(func() {
			wait := probeAfter
			for !c.sockets.hasHungUp(c.conn) && sleep(ctx, wait) && probe() == nil && sleep(ctx, probeTimeout) {
				wait = probeAfter - probeTimeout
			}
		})
	})
	return ctx, func() {
		cancel()
		if stop() {
			return
		}
		if p := <-ended; p != nil {
			panic(p)
		}
	}
}

// sleep sleeps for a time. It is false if ctx ended sooner.
func sleep(ctx context.Context, long time.Duration) bool {
	select {
	case <-time.After(long):
		return true
	case <-ctx.Done():
		return false
	}
}

package main

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// closeGrace is how long a client may take for its last frame when the program ends.
const closeGrace = 300 * time.Millisecond

// socketCalls are what can be done with a socket's file descriptor, besides what package
// net does: see system_linux.go. Each is nil on systems where that is not known.
type socketCalls struct {
	// send writes as much of b as the socket takes without waiting; syscall.EAGAIN if
	// that is nothing.
	send func(fd uintptr, b []byte) (int, error)

	// limitUnsent lets the socket take nothing while more than a little of what it took
	// before is still unsent.
	limitUnsent func(fd uintptr)

	// isWritable reports whether the socket takes anything without waiting.
	isWritable func(fd uintptr) bool

	// isQueued reports whether data that the socket has sent waits for the link of this
	// board, and not for one farther on.
	isQueued func(fd uintptr) bool

	// limitSilence lets the system give up a connection whose other end says nothing for
	// as long as clientTimeout.
	limitSilence func(fd uintptr)

	// isHungUp reports whether it is known that the other end of a connection is closed,
	// and has not only shut down its sending side.
	isHungUp func(fd uintptr) bool
}

// A client is a connection that the stream is sent to. Its fields belong to the goroutine in
// run, and to the broadcaster while that goroutine waits for woken. Any goroutine may use
// the atomic fields.
type client struct {
	stream      *stream
	conn        net.Conn
	tls         *tlsSender      // nil without TLS
	raw         syscall.RawConn // of conn, or of what is below TLS, if sockets.send can use it
	fd          uintptr         // raw's, while sendAll runs
	broadcaster *broadcaster    // if there is raw
	woken       chan struct{}   // by the broadcaster, or for its turn on the link
	failed      *panicError     // of the broadcaster, when it served the client
	spacing     uint32          // least time between frames, microseconds; 0: none

	held    *frame // being sent
	unsent  []byte // what is still to be sent of it
	heldSeq uint32 // its seq when it was taken
	slow    bool   // its socket or its link did not take the last one at once

	link     *link         // of this board
	linkTime time.Duration // that it used of the link, or missed; link.mu protects it

	seq     uint32 // of the frame sent last
	number  uint32 // of the frame sent last
	next    uint32 // when the next frame is due, on the stream's clock
	statsAt uint32 // when updateStats ran last, on the stream's clock
	bytes   uint32 // that the socket took since then
	frames  uint32 // sent since then
	rate    rate

	giveUpAt  time.Time // when it is dropped if it takes nothing until then
	seenBytes uint32    // of bytes, when giveUpAt was set
	heartbeat uint32    // when the next one is due, on the stream's clock

	since   time.Time
	state   atomic.Uint32 // open, half-closed or gone: it only grows
	sent    atomic.Uint32 // frames
	skipped atomic.Uint32 // frames that came while it was busy with another
	millihz atomic.Uint32 // frames per 1000 seconds, lately

	// holdsBack is the number of the held frame while the socket has yet to take all of it,
	// else 0.
	holdsBack atomic.Uint32
}

// addClient sends the stream to conn from now on, after head: the header of an HTTP response
// and the first boundary. The caller has called addViewer; removeViewer is called when the
// client has gone.
func (s *stream) addClient(conn net.Conn, head []byte, spacing time.Duration) {
	joined := false
	defer func() {
		if !joined { // or it panics
			conn.Close()
			s.removeViewer()
		}
	}()
	c := &client{
		stream:  s,
		conn:    conn,
		tls:     newTLSSender(conn, s.sockets),
		spacing: uint32(spacing.Microseconds()),
		since:   time.Now(),
		next:    s.clock.Load(),
		statsAt: s.clock.Load(),
	}
	c.rate.since = c.statsAt
	if sc, ok := socketBelow(conn).(syscall.Conn); ok && s.sockets.send != nil {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(s.sockets.limitUnsent)
			c.raw, c.woken = raw, make(chan struct{}, 1)
		}
	}
	if joined = s.join(c, s.interfaceAt(conn.LocalAddr())); joined {
		go s.panics.catch(c.watchHangup)
		go s.panics.catch(func() { c.run(head) })
	}
}

// join adds c to the stream's clients, and to those of an interface, unless the stream was
// closed.
func (s *stream) join(c *client, interfaceName string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	c.link = s.findLink(interfaceName)
	s.clients[c] = struct{}{}
	if c.raw != nil {
		c.broadcaster = s.assignBroadcaster()
	}
	s.totals.clients++
	s.clientGroup.Add(1)
	return true
}

// run sends frames until the client goes or takes too little for too long.
func (c *client) run(head []byte) {
	defer c.leave()
	c.resetTimeout()
	if err := c.sendHead(head); err != nil {
		return
	}
	if c.raw != nil {
		if c.tls != nil {
			c.tls.socket.keep(true)
		}
		c.retryWrite(func() error { return c.raw.Write(c.sendAll) })
		return
	}
	for c.wait() {
		if err := c.retryWrite(c.sendBlocking); err != nil {
			return
		}
	}
}

func (c *client) leave() {
	c.state.Store(stateGone)
	if c.tls != nil && c.raw != nil {
		c.raw.Control(c.tls.end)
	}
	c.conn.Close()
	if c.held != nil {
		c.releaseHeld()
	}
	c.updateStats()
	s := c.stream
	s.mu.Lock()
	delete(s.clients, c)
	if c.broadcaster != nil {
		c.broadcaster.assigned--
		s.cond.Broadcast() // it may have been the broadcaster's last
	}
	s.mu.Unlock()
	s.removeViewer()
	s.clientGroup.Done()
}

// sendHead sends the head, and in the same packets the newest frame if there is
// one already. Over TLS it is the head alone.
func (c *client) sendHead(head []byte) error {
	first := net.Buffers{head}
	if c.tls == nil && c.takeNewest() {
		first = append(first, c.unsent)
		c.holdsBack.Store(c.held.number)
	}
	err := c.retryWrite(func() error {
		n, err := first.WriteTo(c.conn)
		c.bytes += uint32(n)
		return err
	})
	if err == nil && c.held != nil {
		c.unsent = nil
		c.finishHeld()
	}
	return err
}

// wait waits until there is a frame to send. It is false if there will be none. It takes no
// lock if there is one already.
func (c *client) wait() bool {
	if c.ready() {
		return !c.isGone()
	}
	s := c.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	for !c.ready() && !c.isGone() {
		s.cond.Wait()
	}
	return !c.isGone()
}

// ready reports whether there is a frame or a heartbeat to send now.
func (c *client) ready() bool {
	f := c.stream.latest.Load()
	return f != nil && f.seq.Load() != c.seq && c.due() || c.heartbeatDue()
}

// due reports whether the client's frame rate allows a frame now.
func (c *client) due() bool {
	return c.spacing == 0 || int32(c.stream.clock.Load()-c.next) >= 0
}

// sendBlocking sends the newest frame on connections that are not plain sockets.
func (c *client) sendBlocking() error {
	if c.held == nil {
		c.updateEachSecond()
		if !c.due() || !c.takeNewest() {
			return c.sendHeartbeat()
		}
		c.holdsBack.Store(c.held.number)
	}
	n, err := c.conn.Write(c.unsent)
	c.bytes += uint32(n)
	if c.unsent = c.unsent[n:]; err == nil {
		c.finishHeld()
	}
	return err
}

// sendAll sends frames until the client goes or takes none for too long. Then it is true. It
// is false if the socket takes nothing, and is called again when that may be over.
//
// One call sends many frames. Package net has a lock for each connection that takes 64-bit
// atomic operations, which are expensive on ARMv6. Meanwhile, the broadcaster does most of
// the work.
func (c *client) sendAll(fd uintptr) (done bool) {
	c.fd = fd
	for {
		send := c.send
		if c.held == nil {
			switch {
			case c.slow:
				send = c.sendInTurn
			case c.state.Load() == stateHalfClosed:
				c.wait()
			default:
				c.broadcaster.handle(c)
			}
			if c.isGone() && c.held == nil { // the broadcaster may have sent a part
				return true
			}
		}
		if err := send(); err != nil {
			c.slow = true
			return err != syscall.EAGAIN
		}
	}
}

// send sends as much as the socket takes of the held frame or, without one, of the newest.
// While the socket takes nothing, the client holds no frame: none is kept from reuse, and
// the frame that it sends next is the newest then. On a slow link, pictures get old because
// they are chosen early.
func (c *client) send() error {
	if c.held == nil {
		c.updateEachSecond()
		if !c.due() || !c.takeNewest() {
			return c.sendHeartbeat()
		}
	}
	n, err := c.write(c.unsent)
	c.bytes += uint32(n)
	switch {
	case err != nil:
		if len(c.unsent) == len(c.held.part) {
			c.releaseHeld()
		}
		return err
	case n < len(c.unsent):
		c.unsent = c.unsent[n:]
		c.holdsBack.Store(c.held.number)
	default:
		c.finishHeld()
	}
	return nil
}

// sendOrReturn sends c the newest frame, unless that was sent or is not due. It reports
// whether c was given back to its own goroutine: when it is to go or to be watched,
// or its socket did not take all of the frame. A panic goes with it.
func (c *client) sendOrReturn() (returned bool) {
	defer func() {
		if value := recover(); value != nil {
			c.failed = newPanicError(value)
			c.woken <- struct{}{}
			returned = true
		}
	}()
	if c.state.Load() == stateOpen && (!c.due() || c.send() == nil && c.held == nil) {
		return false
	}
	c.woken <- struct{}{}
	return true
}

// write writes as much of b as the socket takes without waiting; syscall.EAGAIN if that is nothing.
func (c *client) write(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.send(c.fd, b)
	}
	return c.stream.sockets.send(c.fd, b)
}

// updateEachSecond does what is needed once a second and not for each frame.
func (c *client) updateEachSecond() {
	if c.stream.clock.Load()-c.statsAt >= 1e6 {
		c.updateStats()
		c.resetTimeout()
	}
}

// takeNewest holds the newest frame for sending. It is false if that was sent
// already, or there is none.
func (c *client) takeNewest() bool {
	f := c.stream.newest()
	if f == nil {
		return false
	}
	seq := f.seq.Load()
	if seq == c.seq {
		f.release()
		return false
	}
	c.held, c.unsent, c.heldSeq = f, f.part, seq
	return true
}

// releaseHeld releases the held frame as if it had never been taken.
func (c *client) releaseHeld() {
	c.held.release()
	c.held, c.unsent = nil, nil
}

// finishHeld counts the held frame as sent and releases it.
func (c *client) finishHeld() {
	f := c.held
	if last := c.number; last != 0 && c.spacing == 0 && f.number-last > 1 {
		c.skipped.Add(f.number - last - 1)
	}
	if len(c.unsent) < len(f.part) { // or it was never held back: an atomic store costs time
		c.holdsBack.Store(0)
	}
	c.seq, c.number = c.heldSeq, f.number
	c.frames++
	c.sent.Add(1)
	c.schedule()
	c.releaseHeld()
}

// schedule sets when the next frame is due: one spacing after this one was due, so that the
// camera's jitter does not add up, but never in the past.
func (c *client) schedule() {
	if c.spacing == 0 {
		return
	}
	c.next += c.spacing
	if now := c.stream.clock.Load(); int32(now-c.next) > 0 {
		c.next = now
	}
}

// updateStats updates the totals and rates for the last second.
func (c *client) updateStats() {
	s := c.stream
	c.statsAt = s.clock.Load()
	c.rate.n += c.frames
	c.rate.measure(c.statsAt, 1e6)
	c.millihz.Store(uint32(c.rate.hertz * 1000))
	s.mu.Lock()
	s.totals.sent += uint64(c.frames)
	s.totals.bytes += uint64(c.bytes)
	s.mu.Unlock()
	c.frames, c.bytes, c.seenBytes = 0, 0, 0
}

// clientState is a client in /state.
type clientState struct {
	Address string  `json:"address"`
	FPS     float64 `json:"fps"` // in the last second
	Sent    uint32  `json:"frames_sent"`
	Skipped uint32  `json:"frames_skipped"` // came while it was busy with another
	Seconds float64 `json:"connected_s"`
}

func (c *client) describe(now time.Time) clientState {
	return clientState{
		Address: c.conn.RemoteAddr().String(),
		FPS:     float64(c.millihz.Load()) / 1000,
		Sent:    c.sent.Load(),
		Skipped: c.skipped.Load(),
		Seconds: now.Sub(c.since).Seconds(),
	}
}

// rate measures how often something happens, over about a second.
type rate struct {
	since uint32  // microseconds, on the stream's clock; 0 before the first
	n     uint32  // counted since then
	hertz float32 // of the period before
}

// count counts one at now, in microseconds. The first only starts the clock.
func (r *rate) count(now uint32) {
	if r.since == 0 {
		r.since = now
		return
	}
	r.n++
	r.measure(now, 1e6)
}

// measure closes the period when it is as long as that, in microseconds.
func (r *rate) measure(now, long uint32) {
	if span := now - r.since; r.since != 0 && span >= long {
		r.hertz = float32(r.n) * 1e6 / float32(span)
		r.since, r.n = now, 0
	}
}

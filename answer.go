package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"
)

// What answers have in common, other than the stream: how long a client may take for
// one, and how it is found that a client does not wait for it any more.

const (
	// maxChunk is how much of an answer a client has to take within patience, in bytes:
	// half of what minClientRate allows, since sockets take it in lumps.
	maxChunk = minClientRate * int(clientTimeout/time.Second) / 2

	// A client that has shut down its sending side is sent something each time after
	// the first of these, and is to have objected, if it is gone, after the second.
	probeAfter   = 1500 * time.Millisecond
	probeTimeout = 400 * time.Millisecond
)

// extendDeadline gives a client patience for what is written next.
func extendDeadline(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(clientTimeout))
}

// sendBody writes b, however long that takes, as long as the client takes enough of it.
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
}

type connectionKey struct{}

// acceptConn prepares a connection that was accepted, and has its requests know it.
func acceptConn(ctx context.Context, conn net.Conn) context.Context {
	if tcp, ok := conn.(*net.TCPConn); ok && limitSilence != nil {
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(limitSilence)
		}
	}
	return context.WithValue(ctx, connectionKey{}, &connection{conn, ctx})
}

// hasHungUp reports whether it is known that the other end of conn, which sends nothing
// any more, is closed. Where that can't be asked, it is taken for closed.
func hasHungUp(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok || isHungUp == nil {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	hungUp := false
	err = raw.Control(func(fd uintptr) { hungUp = isHungUp(fd) })
	return hungUp || err != nil
}

// untilHangup returns a context that ends when the client of r is gone, or the program
// ends. That of r also ends when the client has shut down its sending side, as BusyBox's
// nc does, and some load balancers. Such a client still wants its answer (RFC 9112,
// section 9.6).
//
// TCP has the same sign for both, until something is sent: who is gone objects. That is
// what nudge is for: it sends something that means nothing, or ends the wait by an
// error. It is called from another goroutine, but not after end has returned.
func untilHangup(r *http.Request, probe func() error) (ctx context.Context, end func()) {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return context.WithCancel(r.Context())
	}
	ctx, cancel := context.WithCancel(c.server)
	ended := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() {
		defer close(ended)
		defer cancel()
		wait := probeAfter
		for !hasHungUp(c.conn) && sleep(ctx, wait) && probe() == nil && sleep(ctx, probeTimeout) {
			wait = probeAfter - probeTimeout
		}
	})
	return ctx, func() {
		cancel()
		if !stop() {
			<-ended
		}
	}
}

// sleep sleeps for so long. It is false if ctx ended sooner.
func sleep(ctx context.Context, long time.Duration) bool {
	select {
	case <-time.After(long):
		return true
	case <-ctx.Done():
		return false
	}
}

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// reservedFiles is how many files may be open besides connections: 10 for the standard
	// ones, the listening socket, Go's runtime and the terminal, and others for the camera,
	// those that are tried meanwhile, and the pipes of a program that takes pictures.
	reservedFiles = 24

	// otherConnections may be open besides two for each viewer, which are those of a page:
	// its stream and its events.
	otherConnections = 64

	// acceptPause is the time until the next try when the system has no room for a
	// connection and none can be closed.
	acceptPause = 100 * time.Millisecond

	// requestGrace is how long a request may take to be read before its connection is closed
	// as one without. Many viewers may come at once, after a restart for example, and a
	// slow board accepts them before it reads their requests. Meanwhile it looks each
	// requestPause whether there is room for the next.
	requestGrace = 100 * time.Millisecond
	requestPause = time.Millisecond

	// limitLogSpacing is the least time between two lines about limits.
	limitLogSpacing = time.Minute

	refusal = "HTTP/1.1 503 Service Unavailable\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Retry-After: 5\r\n" +
		"Connection: close\r\n" +
		"\r\n" +
		"too many connections: all of them are busy\n"
)

// A limitListener accepts connections for a web server and keeps their number within limits.
// The oldest idle connection makes room for a new one. Without an idle one, the connection
// does whose first request has been awaited for longest. Connections that are being answered,
// and viewers, are never closed: if there are no others, a new connection is refused.
//
// An address may have half of all connections waiting for requests. It may have any number
// of viewers, since all may come through one proxy.
type limitListener struct {
	net.Listener
	stream *stream // has the viewers' connections, which the server has given away
	log    *log.Logger

	accepted atomic.Uint32 // connections, refused ones too

	max        int    // connections at a time
	maxWaiting int    // of an address, that wait for a request
	limitedBy  string // what to change to allow more
	lines      spacedLines

	mu      sync.Mutex                    // protects these
	conns   map[net.Conn]*connectionState // that the server has
	changes uint64                        // counts changes of their states
}

// connectionState is the state of a connection that a web server has.
type connectionState struct {
	host     string
	accepted time.Time
	state    http.ConnState
	since    uint64 // limitListener.changes when that began
}

// newLimitListener limits the connections of l, to a process that may have maxFiles open
// files; 0: not known.
func newLimitListener(l net.Listener, s *stream, maxFiles int, logger *log.Logger) *limitListener {
	most, limitedBy := 2*s.maxViewers+otherConnections, "-max-clients"
	if files := max(maxFiles-reservedFiles, maxFiles/2); maxFiles > 0 && files < most {
		most, limitedBy = files, "ulimit -n"
	}
	return &limitListener{
		Listener: l, stream: s, log: logger,
		max: most, maxWaiting: (most + 1) / 2, limitedBy: limitedBy,
		conns: make(map[net.Conn]*connectionState),
	}
}

// serve has web serve the connections, over TLS if there is a certificate.
func (l *limitListener) serve(web *http.Server, cert *certificate) error {
	web.ConnState = l.setState
	web.Handler = l.awaitBody(web.Handler)
	if cert != nil {
		web.ErrorLog = log.New(&handshakeLog{log: l.log}, "", 0)
		return web.Serve(newTLSListener(l, cert))
	}
	return web.Serve(l)
}

// setState notes a new state of a connection.
func (l *limitListener) setState(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew:
		l.conns[conn] = &connectionState{host: remoteHost(conn), accepted: time.Now()}
	case http.StateHijacked, http.StateClosed:
		delete(l.conns, conn)
	}
	if c := l.conns[conn]; c != nil { // nil also if it was closed here
		l.changes++
		c.state, c.since = state, l.changes
	}
}

// awaitBody reads the body of a request, before h gets it: clients have clientTimeout for maxChange
// bytes. Meanwhile their connection is one without a request, or a stranger could keep all of them
// busy. Without a body, no time is limited: the server notices when a client that waits for its
// answer is gone.
func (l *limitListener) awaitBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			h.ServeHTTP(w, r)
			return
		}
		conn := r.Context().Value(connectionKey{}).(*connection).conn
		l.setState(conn, http.StateNew)
		control := http.NewResponseController(w)
		control.SetReadDeadline(time.Now().Add(clientTimeout))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChange))
		extendDeadline(w) // that may have taken time
		if err != nil {
			http.Error(w, fmt.Sprintf("the body of the request is damaged, did not come within %v, or has more than %d bytes", clientTimeout, maxChange), http.StatusBadRequest)
			return
		}
		control.SetReadDeadline(time.Time{})
		l.setState(conn, http.StateActive)
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	})
}

// Accept returns the next connection that there is room for.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		switch {
		case isShortage(err):
			l.logLimit("%v: connections without a request make room for new ones", err)
			if closed, _ := l.closeOldest(l.any); !closed {
				time.Sleep(acceptPause)
			}
			continue
		case err != nil:
			return nil, err
		}
		l.accepted.Add(1)
		if l.makeRoom(remoteHost(conn)) {
			return conn, nil
		}
		l.stream.refusals.connections.Add(1)
		refuse(conn)
	}
}

// isShortage reports whether the system had no room for a connection: accept(2).
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// makeRoom makes room for a connection from host. It is false if all others are busy.
func (l *limitListener) makeRoom(host string) bool {
	same := func(c *connectionState) bool { return c.host == host }
	for end := time.Now().Add(requestGrace); ; time.Sleep(requestPause) {
		all, waiting := l.count(same)
		if waiting < l.maxWaiting && all < l.max {
			return true
		}
		match := l.any
		if waiting >= l.maxWaiting {
			match = same
		}
		closed, pending := l.closeOldest(match)
		if !closed && pending && time.Now().Before(end) {
			continue
		}
		l.logFull(host, waiting)
		return closed
	}
}

// logFull logs which of the limits was reached when a connection came from host, of which some
// wait for a request.
func (l *limitListener) logFull(host string, waiting int) {
	if waiting >= l.maxWaiting {
		l.logLimit("%s has %d connections without a request, as many as it may: the oldest makes room for each new one", cmp.Or(host, "the unix socket"), l.maxWaiting)
		return
	}
	l.logLimit("all %d connections are in use: for each new one the oldest without a request is closed, or else the new one; allow more with %s", l.max, l.limitedBy)
}

// any is true for each connection.
func (l *limitListener) any(*connectionState) bool { return true }

// count counts all connections, and those among the ones that match that wait for a request.
func (l *limitListener) count(match func(*connectionState) bool) (all, waiting int) {
	all = l.stream.clientCount()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c.state != http.StateActive && match(c) {
			waiting++
		}
	}
	return all + len(l.conns), waiting
}

// closeOldest closes, of the connections that match, the one that has been idle for longest,
// or else the one whose first request has been awaited for longest. It reports whether there was
// one, and whether the first request of any other is still to be read.
func (l *limitListener) closeOldest(match func(*connectionState) bool) (closed, pending bool) {
	conn, pending := l.removeOldest(match)
	if conn == nil {
		return false, pending
	}
	l.stream.refusals.evictions.Add(1)
	conn.Close()
	return true, pending
}

// removeOldest removes the connection that closeOldest closes; nil if there is none.
func (l *limitListener) removeOldest(match func(*connectionState) bool) (oldest net.Conn, pending bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn, c := range l.conns {
		switch {
		case c.state == http.StateActive || !match(c):
		case !c.mayGo():
			pending = true
		case oldest == nil || c.goesBefore(l.conns[oldest]):
			oldest = conn
		}
	}
	delete(l.conns, oldest)
	return oldest, pending
}

// mayGo reports whether c, which waits for a request, has had its time for the first.
func (c *connectionState) mayGo() bool {
	return c.state == http.StateIdle || time.Since(c.accepted) >= requestGrace
}

// goesBefore reports whether c is closed before d when both wait for a request.
func (c *connectionState) goesBefore(d *connectionState) bool {
	if c.state != d.state {
		return c.state == http.StateIdle
	}
	return c.since < d.since
}

// logLimit logs a line about limits, unless there was one lately.
func (l *limitListener) logLimit(format string, args ...any) {
	if l.lines.due() {
		l.log.Printf(format, args...)
	}
}

// spacedLines are lines for the log that many clients could cause: one each limitLogSpacing is.
type spacedLines struct {
	last time.Time // zero before the first
}

// due reports whether a line may be logged now, and notes that it is.
func (s *spacedLines) due() bool {
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < limitLogSpacing {
		return false
	}
	s.last = now
	return true
}

// refuse answers a connection that there is no room for, and closes it. It takes what the
// client has sent until then, or the client's system could throw away the answer. It waits
// for that no longer than a moment, because nobody is accepted meanwhile.
func refuse(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Millisecond))
	io.WriteString(conn, refusal)
	var b [4096]byte
	conn.Read(b[:])
}

// remoteHost returns the address at the other end of a connection, without the port; "" of a
// unix socket.
func remoteHost(conn net.Conn) string {
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	return host
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// A certificate is what -tls-cert and -tls-key name.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// loadCertificate loads the files; nil without any.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.load()
}

// load loads the files. If that fails, what was loaded before goes on.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("cannot use -tls-cert and -tls-key: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// reload loads the files again at each SIGHUP, until ctx ends. Connections that there are go on.
func (c *certificate) reload(ctx context.Context, logger *log.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
		case <-ctx.Done():
			return
		}
		if err := c.load(); err != nil {
			logger.Printf("%v: the certificate from before goes on", err)
		} else {
			logger.Print("the certificate was loaded again")
		}
	}
}

// A tlsListener accepts TLS connections, with the standard library's choice of versions and ciphers.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func newTLSListener(l net.Listener, c *certificate) net.Listener {
	return tlsListener{l, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.current.Load(), nil
	}}}
}

func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&tlsSocket{Conn: conn}, l.config), nil
}

// A handshakeLog is what the web server logs to. Of TLS handshakes that fail it logs one a minute:
// each scan of the network has some, and browsers that do not trust the certificate have several.
// It logs none of connections that just end, like those of limitListener.accepts.
type handshakeLog struct {
	log *log.Logger

	mu    sync.Mutex // protects lines
	lines spacedLines
}

func (h *handshakeLog) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if bytes.Contains(line, []byte("TLS handshake error")) && (bytes.HasSuffix(line, []byte(": EOF\n")) || !h.lines.due()) {
		return len(line), nil
	}
	h.log.Print(string(line))
	return len(line), nil
}

// socketBelow returns the connection that is below conn if that is one of TLS, or else conn.
func socketBelow(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		if s, ok := t.NetConn().(*tlsSocket); ok {
			return s.Conn
		}
	}
	return conn
}

// A tlsSocket is the connection below TLS. While the stream has it, it keeps what TLS writes, for
// a tlsSender: a write of TLS must not be interrupted, and takes however much it is given.
type tlsSocket struct {
	net.Conn

	mu    sync.Mutex // protects these: TLS also writes on its own, when it reads
	keeps bool
	kept  []byte // encrypted, to be sent
}

func (s *tlsSocket) Write(b []byte) (int, error) {
	s.mu.Lock()
	if s.keeps {
		defer s.mu.Unlock()
		s.kept = append(s.kept, b...)
		return len(b), nil
	}
	s.mu.Unlock()
	return s.Conn.Write(b)
}

// keep has the socket keep what is written from now on, or not.
func (s *tlsSocket) keep(keeps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeps = keeps
}

// tlsPiece is how much is encrypted at once, in bytes: as much as a socket takes at once. Of a frame
// in two pieces, the second would have to wait for its turn on a slow link. Each viewer over TLS
// takes memory for a piece.
const tlsPiece = 60 << 10

// A tlsSender sends frames over TLS as socketCalls.send does over a plain socket: as much as the
// socket takes, without waiting. What was encrypted has to be sent, so nothing is
// encrypted before the socket takes something: the frame is chosen as late as without TLS.
type tlsSender struct {
	conn    *tls.Conn
	socket  *tlsSocket
	sockets socketCalls
	owed    int // of the next byte to be sent, 1 if it was encrypted already
}

// newTLSSender returns a sender for conn; nil if that is not one of TLS.
func newTLSSender(conn net.Conn, sockets socketCalls) *tlsSender {
	if t, ok := conn.(*tls.Conn); ok {
		if s, ok := t.NetConn().(*tlsSocket); ok {
			return &tlsSender{conn: t, socket: s, sockets: sockets}
		}
	}
	return nil
}

// send sends as much of b as the socket takes; syscall.EAGAIN if that is nothing. The last byte of
// a piece counts as sent when the whole piece is.
func (t *tlsSender) send(fd uintptr, b []byte) (n int, err error) {
	for n < len(b) {
		if t.owed == 0 {
			if !t.sockets.isWritable(fd) {
				err = syscall.EAGAIN
				break
			}
			piece := b[n:min(n+tlsPiece, len(b))]
			if _, err = t.conn.Write(piece); err != nil {
				break
			}
			n, t.owed = n+len(piece)-1, 1
		}
		if err = t.flush(fd); err != nil {
			break
		}
		n, t.owed = n+1, 0
	}
	if n > 0 && err == syscall.EAGAIN {
		err = nil
	}
	return n, err
}

// flush sends what the socket has kept.
func (t *tlsSender) flush(fd uintptr) error {
	t.socket.mu.Lock()
	defer t.socket.mu.Unlock()
	left := t.socket.kept
	for len(left) > 0 {
		n, err := t.sockets.send(fd, left)
		left = left[n:]
		if err != nil {
			t.socket.kept = append(t.socket.kept[:0], left...)
			return err
		}
	}
	t.socket.kept = t.socket.kept[:0]
	return nil
}

// end lets TLS tell the client that this is the end, if the socket takes that at once.
func (t *tlsSender) end(fd uintptr) {
	if t.owed == 0 && t.flush(fd) == nil && t.sockets.isWritable(fd) {
		t.socket.keep(false)
	}
}

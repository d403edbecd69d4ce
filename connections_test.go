package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A limitTest has a web server with room for 6 connections, 3 of an address without a request.
type limitTest struct {
	*testing.T
	stream *stream
	accept chan any // the next connections and errors
	log    bytes.Buffer
}

func testLimit(t *testing.T, test func(*limitTest)) {
	testLimitOf(t, accessOptions{}, test)
}

func testLimitOf(t *testing.T, o accessOptions, test func(*limitTest)) {
	synctest.Test(t, func(t *testing.T) {
		lt := &limitTest{T: t, stream: startStream(t), accept: make(chan any, 6)}
		logger := log.New(&lt.log, "", 0)
		handler := newAccess(o, "", &lt.stream.refusals, logger).guard(newHandler(lt.stream, &supervisor{stream: lt.stream}))
		web := newWebServer(t.Context(), handler, socketCalls{}, logger)
		go newLimitListener(lt, lt.stream, 12, logger).serve(web, nil)
		test(lt)
		web.Close()
	})
}

func (lt *limitTest) Accept() (net.Conn, error) {
	switch next := (<-lt.accept).(type) {
	case net.Conn:
		return next, nil
	case error:
		return nil, &net.OpError{Op: "accept", Err: next}
	}
	return nil, net.ErrClosed
}

func (lt *limitTest) Close() error   { close(lt.accept); return nil }
func (lt *limitTest) Addr() net.Addr { return &net.TCPAddr{} }

// farConn is a connection from the other end of which the address is known.
type farConn struct {
	net.Conn
	host string
}

func (c farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.host), Port: 1} }

// connect makes a connection from host and sends a request for path, or none for "".
func (lt *limitTest) connect(host, path string) *limitClient {
	lt.Helper()
	c := lt.begin(host, path)
	time.Sleep(2 * requestGrace)
	return c
}

// begin is connect without waiting until anything comes of it.
func (lt *limitTest) begin(host, path string) *limitClient {
	near, far := net.Pipe()
	lt.Cleanup(func() { far.Close() })
	c := &limitClient{Conn: far, answer: make(chan string, 1)}
	go c.read()
	if path != "" {
		go io.WriteString(far, "GET "+path+" HTTP/1.1\r\nHost: test\r\n\r\n") // fails if it is refused
	}
	lt.accept <- farConn{near, host}
	return c
}

type limitClient struct {
	net.Conn
	answer chan string // the status of the first
	closed atomic.Bool
}

// read reads until the other end closes the connection.
func (c *limitClient) read() {
	r := bufio.NewReader(c)
	if response, err := http.ReadResponse(r, nil); err == nil {
		c.answer <- response.Status
	}
	io.Copy(io.Discard, r)
	c.closed.Store(true)
}

// expectClosed checks which of all connections are closed, of those that have letters.
func (lt *limitTest) expectClosed(all map[string]*limitClient, want string) {
	lt.Helper()
	synctest.Wait()
	for name, c := range all {
		if closed := c.closed.Load(); closed != strings.Contains(want, name) {
			lt.Errorf("connection %s: closed %v, want only %q to be", name, closed, want)
		}
	}
}

// Idle connections are closed first, then those without a request, the oldest of each first,
// and no others.
func TestConnectionsOrder(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		all := map[string]*limitClient{
			"a": lt.connect("10.0.0.1", ""),
			"b": lt.connect("10.0.0.2", "/healthz"),
			"c": lt.connect("10.0.0.3", "/stream"),
			"d": lt.connect("10.0.0.4", "/events"),
			"e": lt.connect("10.0.0.5", "/healthz"),
			"f": lt.connect("10.0.0.6", ""),
		}
		lt.expectClosed(all, "")
		for i, want := range []string{"b", "be", "bea", "beaf"} {
			if got := <-lt.connect("10.0.0.7", "/stream").answer; got != "200 OK" {
				t.Errorf("newcomer %d got %s, want the stream", i, got)
			}
			lt.expectClosed(all, want)
		}
		if got := <-lt.connect("10.0.0.7", "/stream").answer; got != "503 Service Unavailable" {
			t.Errorf("a newcomer got %s when all connections are busy, want 503", got)
		}
		lt.expectClosed(all, "beaf")
		all["c"].Close()
		time.Sleep(2 * time.Second) // until it is seen
		if got := <-lt.connect("10.0.0.7", "/stream").answer; got != "200 OK" {
			t.Errorf("a newcomer got %s after a viewer left, want the stream", got)
		}
		if r := &lt.stream.refusals; r.evictions.Load() != 4 || r.connections.Load() != 1 {
			t.Errorf("counted %d connections that made room and %d refused ones, want 4 and 1", r.evictions.Load(), r.connections.Load())
		}
	})
}

// An address that has as many connections without a request as it may have makes room for
// itself, and no others make room for it.
func TestConnectionsOfAddress(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		all := map[string]*limitClient{
			"a": lt.connect("10.0.0.1", "/healthz"),
			"b": lt.connect("10.0.0.2", ""),
			"c": lt.connect("10.0.0.2", "/healthz"),
			"d": lt.connect("10.0.0.2", "/healthz"),
		}
		for _, want := range []string{"c", "cd", "cdb"} {
			lt.connect("10.0.0.2", "")
			lt.expectClosed(all, want)
		}
	})
}

// Viewers of one address may be many: all may come through a proxy.
func TestViewersOfAddress(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		for i := range 6 {
			if got := <-lt.connect("10.0.0.1", "/stream").answer; got != "200 OK" {
				t.Errorf("viewer %d got %s, want the stream", i, got)
			}
		}
	})
}

// Connections whose requests have come are not closed as those without one, although many come
// at once and none of the requests was read yet.
func TestViewersAtOnce(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		var all []*limitClient
		for range 6 {
			all = append(all, lt.begin("10.0.0.1", "/stream"))
		}
		time.Sleep(time.Second)
		for i, c := range all {
			if c.closed.Load() || len(c.answer) == 0 {
				t.Errorf("viewer %d does not have the stream", i)
			}
		}
	})
}

// When the system has no room for a connection, an idle one makes room. The server does not
// learn of it, and without one to close there is a pause before the next try.
func TestNoFiles(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		idle := lt.connect("10.0.0.1", "/healthz")
		watching := lt.connect("10.0.0.2", "/stream")
		for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
			lt.accept <- err
		}
		lt.expectClosed(map[string]*limitClient{"idle": idle, "watching": watching}, "idle")
		for left := 2; left >= 0; left-- {
			if got := len(lt.accept); got != left {
				t.Errorf("%d tries are left, want %d", got, left)
			}
			time.Sleep(acceptPause + time.Millisecond)
		}
		if got := <-lt.connect("10.0.0.3", "/healthz").answer; got != "503 Service Unavailable" { // no camera
			t.Errorf("a newcomer got %s, want an answer", got)
		}
		if lines := strings.Count(lt.log.String(), "\n"); lines != 1 {
			t.Errorf("got %d lines in the log, want 1:\n%s", lines, &lt.log)
		}
	})
}

// While connections are closed and refused there is one line in the log each minute.
func TestLimitLog(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		for range 150 {
			lt.connect("10.0.0.1", "/stream")
			time.Sleep(time.Second)
		}
		want := strings.Repeat("all 6 connections are in use: for each new one the oldest without a request is closed, or else the new one; allow more with ulimit -n\n", 3)
		if got := lt.log.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// lateBody ends the header of a request whose body is to come.
const lateBody = " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"

// A request whose body does not come is given up, whether anybody wants the body or not. A
// feed that was asked for with a body goes on.
func TestBodyTime(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		all := map[string]*limitClient{"a": lt.connect("10.0.0.1", ""), "b": lt.connect("10.0.0.2", ""), "c": lt.connect("10.0.0.3", "")}
		io.WriteString(all["a"], "POST /settings"+lateBody)
		io.WriteString(all["b"], "GET /healthz"+lateBody)
		io.WriteString(all["c"], "GET /events"+lateBody+"123456789")
		time.Sleep(clientTimeout - time.Second)
		lt.expectClosed(all, "")
		time.Sleep(2 * time.Second)
		lt.expectClosed(all, "ab")
		time.Sleep(time.Minute)
		lt.expectClosed(all, "ab")
	})
}

// Nor do the bodies of strangers, who have no password, keep connections: they are given up, too, and
// until then make room for others.
func TestBodyOfStranger(t *testing.T) {
	auth := "anna:hunter2"
	testLimitOf(t, accessOptions{auth: &auth}, func(lt *limitTest) {
		all := make(map[string]*limitClient)
		for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
			all[name] = lt.connect(fmt.Sprintf("10.0.0.%d", i+1), "")
			io.WriteString(all[name], "POST /settings"+lateBody)
		}
		time.Sleep(2 * requestGrace)
		lt.expectClosed(all, "")
		if got := <-lt.connect("10.0.0.7", "/stream").answer; got != "401 Unauthorized" {
			t.Errorf("a newcomer got %s, want to be asked for the password", got)
		}
		lt.expectClosed(all, "a")
		time.Sleep(clientTimeout)
		lt.expectClosed(all, "abcdef")
	})
}

// A body of more bytes than any change has is not kept.
func TestBodySize(t *testing.T) {
	testLimit(t, func(lt *limitTest) {
		for size, want := range map[int]string{maxChange: "403 Forbidden", maxChange + 1: "400 Bad Request"} {
			c := lt.connect("10.0.0.1", "")
			go fmt.Fprintf(c, "POST /settings HTTP/1.1\r\nHost: test\r\nSec-Fetch-Site: cross-site\r\nContent-Length: %d\r\n\r\n%0*d", size, size, 0)
			if got := <-c.answer; got != want {
				t.Errorf("%d bytes: got %s, want %s", size, got, want)
			}
		}
		time.Sleep(time.Second) // until the server has closed one
	})
}

func TestConnectionLimit(t *testing.T) {
	tests := []struct {
		viewers, files, want int
		limitedBy            string
	}{
		{100, 0, 264, "-max-clients"}, // not known
		{100, 20000, 264, "-max-clients"},
		{100, 256, 232, "ulimit -n"},
		{100, 64, 40, "ulimit -n"},
		{100, 16, 8, "ulimit -n"},
		{1, 64, 40, "ulimit -n"},
	}
	for _, tt := range tests {
		l := newLimitListener(nil, newStream(tt.viewers, socketCalls{}), tt.files, nil)
		if l.max != tt.want || l.limitedBy != tt.limitedBy {
			t.Errorf("%d viewers, %d files: got %d connections by %s, want %d by %s", tt.viewers, tt.files, l.max, l.limitedBy, tt.want, tt.limitedBy)
		}
	}
}

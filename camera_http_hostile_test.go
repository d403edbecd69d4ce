package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An error is a sentence about the address, without what may be secret in it.
func TestHTTPErrors(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.WriteHeader(code)
			io.WriteString(w, "no camera")
		}
	}
	basic := []string{"WWW-Authenticate", `Basic realm="camera"`}
	for _, test := range []struct {
		name, user string
		handler    http.HandlerFunc
		want       string
	}{
		{"wrong password", "anna:secret@", status(401, basic...), "401: the user or the password is wrong"},
		{"no password", "", status(401, basic...), "401: it asks for a user and a password: put them in front of the host, as in user:password@cam.lan"},
		{"digest", "anna:secret@", status(401, "WWW-Authenticate", `Digest realm="camera"`),
			"401: it asks for a password by Digest, and porthole knows Basic alone: change that in the camera"},
		{"digest or basic", "anna:secret@", status(401, append([]string{"WWW-Authenticate", `Digest realm="camera"`}, basic...)...),
			"401: the user or the password is wrong"},
		{"forbidden", "", status(403), "403: forbidden"},
		{"not found", "", status(404), "404: not found: is this the stream's address?"},
		{"busy", "", status(503), "503: service unavailable: does it have another viewer?"},
		{"a page", "", status(200, "Content-Type", "text/html; charset=utf-8"), "answers text/html: is this the stream's address?"},
		{"a video", "", status(200, "Content-Type", "video/mp4"), "answers video/mp4: is this the stream's address?"},
		{"a stream of nothing", "", status(200, "Content-Type", "multipart/x-mixed-replace; boundary=x"), "the stream ended"},
		{"in a circle", "anna:secret@", status(302, "Location", "/stream/x?pwd=secret"),
			"it sends us from one address to the next: is this the stream's?"},
		{"to another kind of address", "", status(302, "Location", "ftp://127.0.0.1/"), `unsupported protocol scheme "ftp"`},
		{"hangs up", "", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "it hung up and did not answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(test.handler)
			defer s.Close()
			address := strings.TrimPrefix(s.URL, "http://")
			c := openCamera(t, "http://"+test.user+address+"/stream/x?pwd=secret")
			if c.label != "http://"+address+"/stream/x" {
				t.Errorf("it is named %s", c.label)
			}
			c.wantError(t, test.want)
		})
	}
}

// Without a server, the error says what may be the matter.
func TestHTTPNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	openCamera(t, "http://anna:secret@"+l.Addr().String()+"/").wantError(t, "connection refused: is the camera on?")

	wrap := func(err error) error { return &url.Error{Op: "Get", URL: "http://cam/?pwd=secret", Err: err} }
	for want, err := range map[string]error{
		"no such host": wrap(&net.OpError{Err: &net.DNSError{Name: "cam.lan", IsNotFound: true}}),
		"no such host: porthole cannot look up all names in .local: try the IP address":                 wrap(&net.OpError{Err: &net.DNSError{Name: "esp32.local", IsNotFound: true}}),
		"its name cannot be looked up: server misbehaving":                                              wrap(&net.OpError{Err: &net.DNSError{Name: "cam.lan", Err: "server misbehaving"}}),
		"its certificate is not one that this machine trusts: name a file that has it in SSL_CERT_FILE": wrap(x509.UnknownAuthorityError{}),
		"something else": wrap(errors.New("something\033 else")),
	} {
		if got := describeHTTP(err); got != want {
			t.Errorf("%v is said as %q, want %q", err, got, want)
		}
	}
}

// Only the same server gets the password, and none gets the address that we come from.
func TestHTTPRedirect(t *testing.T) {
	heard := make(chan *http.Request, 10)
	answer := func(w http.ResponseWriter, r *http.Request) {
		heard <- r
		w.Header().Set("Content-Type", "image/jpeg")
		w.Write(picture1)
	}
	other := httptest.NewServer(http.HandlerFunc(answer))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/other":
			http.Redirect(w, r, other.URL+"/stream", http.StatusFound)
		case "/same":
			http.Redirect(w, r, "http://"+r.Host+"/stream", http.StatusFound)
		default:
			answer(w, r)
		}
	}))
	defer s.Close()
	for path, want := range map[string]bool{"/other": false, "/same": true, "/": true} {
		c := openCamera(t, strings.Replace(s.URL, "://", "://anna:s%40cret@", 1)+path+"?pwd=secret")
		c.wantPicture(t, picture1)
		r := <-heard
		user, password, ok := r.BasicAuth()
		if ok != want || ok && (user != "anna" || password != "s@cret") {
			t.Errorf("%s leads to %s with user %q and password %q", path, r.URL, user, password)
		}
		if referer := r.Header.Get("Referer"); referer != "" {
			t.Errorf("%s: the referer is %s", path, referer)
		}
		if encoding := r.Header.Get("Accept-Encoding"); encoding != "" {
			t.Errorf("it takes %s", encoding)
		}
	}
}

const streamHead0 = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=x\r\n\r\n"

// trickle writes a byte each 10 ms.
func trickle(conn net.Conn, text string) {
	for {
		for i := range text {
			if _, err := conn.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// Whatever a server does, it ends with an error, soon, and takes no more memory than a picture.
func TestHTTPHostile(t *testing.T) {
	const silent = "no answer for 300ms: is the camera on?"
	const stalled = "no picture for 300ms: the camera stalled"
	start := string(picture1[:len(picture1)/2])
	flood := func(head, text string) func(net.Conn, *atomic.Int64) {
		return func(conn net.Conn, sent *atomic.Int64) {
			io.WriteString(conn, head)
			for block := bytes.Repeat([]byte(text), 100_000/len(text)); ; {
				n, err := conn.Write(block)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		}
	}
	for _, test := range []struct {
		name  string
		serve func(conn net.Conn, sent *atomic.Int64)
		want  string
	}{
		{"never a byte", func(conn net.Conn, _ *atomic.Int64) { io.ReadAll(conn) }, silent},
		{"a byte of the header at a time", func(conn net.Conn, _ *atomic.Int64) { trickle(conn, "HTTP/1.0 200 OK\r\nX: y\r\nX: y\r\n") }, silent},
		{"a byte of the picture at a time", func(conn net.Conn, _ *atomic.Int64) {
			io.WriteString(conn, streamHead0)
			trickle(conn, start)
		}, stalled},
		{"a header without end", flood("HTTP/1.0 200 OK\r\n", "X: y\r\n"),
			"net/http: server response headers exceeded 65536 bytes; aborted"},
		{"a line without end", flood("HTTP/1.0 200 OK\r\nX: ", "y"),
			"net/http: server response headers exceeded 65536 bytes; aborted"},
		{"informational answers without end", flood("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
			"net/http: server response headers exceeded 65536 bytes; aborted"},
		{"a picture without end", flood(streamHead0+start, "x"), "a picture of more than 16 MB"},
		{"a part's header without end", flood(streamHead0, "X: y\r\n"), stalled},
		{"a length of 100 GB", flood("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 100000000000\r\n\r\n"+start, "x"),
			"damaged picture: it is cut off"},
		{"a chunk without end", flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n"+start, "x"),
			"a picture of more than 16 MB"},
		{"no HTTP", func(conn net.Conn, _ *atomic.Int64) { io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n") },
			`malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			ended := make(chan bool, 1)
			c := openCamera(t, serveRaw(t, func(conn net.Conn) {
				test.serve(conn, &sent)
				ended <- true
			}))
			c.stall = limit
			if test.want == silent || test.want == stalled {
				c.stall = 300 * time.Millisecond
			}
			_, _, err := c.Capture(t.Context(), nil)
			if err == nil || strings.TrimPrefix(err.Error(), c.label+": ") != test.want {
				t.Errorf("got error  %v\nwant error %s", err, test.want)
			}
			c.Close()
			await(t, "the end of the connection", ended)
			if !strings.Contains(test.name, "part") && sent.Load() > 32<<20 { // 16, and buffers
				t.Errorf("took %d MB", sent.Load()>>20)
			}
		})
	}
}

// Something compressed is not unpacked.
func TestHTTPCompressed(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(picture1)
	z.Write(make([]byte, 100<<20))
	z.Close()
	c := openCamera(t, serveRaw(t, func(conn net.Conn) {
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\nContent-Encoding: gzip\r\n\r\n%s", bomb.Bytes())
	}))
	c.wantError(t, "the stream ended")
}

// A capture ends soon when it is not wanted any more, whatever it waits for.
func TestHTTPCanceled(t *testing.T) {
	for _, head := range []string{"", streamHead0} {
		c := openCamera(t, serveRaw(t, func(conn net.Conn) {
			io.WriteString(conn, head)
			io.ReadAll(conn)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		start := time.Now()
		if _, _, err := c.Capture(ctx, nil); err != ctx.Err() || err == nil {
			t.Errorf("got error %v, want %v", err, ctx.Err())
		}
		if took := time.Since(start); took > httpStall/2 {
			t.Errorf("it took %v", took)
		}
		cancel()
	}
}

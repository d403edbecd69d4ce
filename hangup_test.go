package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porthole/testdata/skip"
)

// serveOver serves a stream over a network, "tcp" or "unix".
func serveOver(t *testing.T, network string) (s *stream, dial func(request string) net.Conn) {
	t.Helper()
	if thisHost.sockets.isHungUp == nil {
		skip.Test(t, "this system does not tell whether a client has hung up", "run it on Linux")
	}
	s, address := serveStream(t, 10)
	go s.repeat(t.Context())
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "socket")
		l, err := openListener(t.Context(), thisHost.listen, "unix:"+address)
		if err != nil {
			t.Fatal(err)
		}
		web := newWebServer(t.Context(), newHandler(s, &supervisor{stream: s}), thisHost.sockets, nil)
		go web.Serve(l)
		t.Cleanup(func() { web.Close() })
	}
	return s, func(request string) net.Conn {
		t.Helper()
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(limit))
		io.WriteString(conn, request)
		return conn
	}
}

// closeWrite shuts down the sending side, as BusyBox's nc does at the end of its input.
func closeWrite(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// halfCloseTests are requests that wait for a frame.
var halfCloseTests = []string{
	"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n",
	"GET /stream HTTP/1.0\r\n\r\n",
	"GET /stream?fps=0.005 HTTP/1.1\r\nHost: test\r\n\r\n",
	"GET /frames.csv?n=1 HTTP/1.1\r\nHost: test\r\n\r\n",
	"GET /frames.csv?n=1 HTTP/1.0\r\n\r\n",
	"GET /snapshot HTTP/1.1\r\nHost: test\r\n\r\n",
	"GET /snapshot HTTP/1.0\r\n\r\n",
}

// A waiter is a client that waits for a frame, the only one of its stream.
type waiter struct {
	name, request string
	s             *stream
	conn          net.Conn
}

// startWaiters starts one for each request and network, and waits until all are there.
func startWaiters(t *testing.T) (all []*waiter) {
	for _, network := range []string{"tcp", "unix"} {
		for _, request := range halfCloseTests {
			s, dial := serveOver(t, network)
			all = append(all, &waiter{fmt.Sprintf("%s %.35q", network, request), request, s, dial(request)})
		}
	}
	for _, w := range all {
		eventually(t, w.name+" is there", func() bool { return w.s.state().Viewers == 1 })
	}
	return all
}

// A client that has only shut down its sending side gets its answer.
func TestHalfClosed(t *testing.T) {
	t.Parallel() // it mostly waits
	all := startWaiters(t)
	for _, w := range all {
		closeWrite(t, w.conn)
	}
	time.Sleep(3 * time.Second) // more than it takes to find out that one is gone
	for _, w := range all {
		if got := w.s.state().Viewers; got != 1 {
			t.Errorf("%s: %d viewers, want the one that has only shut down its sending side", w.name, got)
		}
		publishJPEG(w.s, picture1)
		checkAnswer(t, w.conn, w.name)
	}
}

// checkAnswer reads an answer that has a frame in it, with the standard library.
func checkAnswer(t *testing.T, conn net.Conn, request string) {
	t.Helper()
	b := bufio.NewReader(conn)
	response, err := http.ReadResponse(b, nil)
	for err == nil && response.StatusCode == http.StatusProcessing {
		response, err = http.ReadResponse(b, nil)
	}
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("got %+v, error %v", response, err)
	}
	switch response.Header.Get("Content-Type") {
	case "image/jpeg":
		if got := text(t, response); got != string(sent(picture1)) {
			t.Errorf("got %d bytes, want the picture", len(got))
		}
	case "text/csv; charset=utf-8":
		if got := strings.TrimSpace(text(t, response)); strings.Count(got, ",") != 6 || !strings.HasPrefix(got, "frame,") {
			t.Errorf("got %q, want a header and a row", got)
		}
	default:
		if _, jpeg := nextPart(t, partsOf(t, response)); !bytes.Equal(jpeg, sent(picture1)) {
			t.Errorf("got %d bytes, want the picture", len(jpeg))
		}
	}
}

// A client that hangs up, whether or not it has shut down its sending side before, is soon
// found to be gone, although no frame comes at all.
func TestHungUp(t *testing.T) {
	all := startWaiters(t)
	halfClosed := startWaiters(t)
	for _, w := range halfClosed {
		closeWrite(t, w.conn)
	}
	time.Sleep(time.Second)
	for _, w := range append(all, halfClosed...) {
		w.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		io.Copy(io.Discard, w.conn) // or its end is a reset, which is easy to notice
		w.conn.Close()
	}
	start := time.Now()
	for _, w := range append(all, halfClosed...) {
		eventually(t, w.name+" is gone", func() bool { return w.s.state().Viewers == 0 })
		t.Logf("%s was gone after %v", w.name, time.Since(start))
	}
}

// A reader of events that has shut down its sending side gets more of them. When it hangs
// up, it is found to be gone, although nothing happens.
func TestHalfClosedEvents(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			s, dial := serveOver(t, network)
			s.maxViewers = 1
			conn := dial(getEvents)
			closeWrite(t, conn)
			lines := bufio.NewReader(conn)
			next := func(prefix string) {
				t.Helper()
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(line, prefix) {
						return
					}
				}
			}
			next("data: ")
			next(":") // to see whether it is there
			publishJPEG(s, picture1)
			next("data: ")
			conn.Close()
			eventually(t, "its place is free", func() bool {
				response, err := http.ReadResponse(bufio.NewReader(dial(getEvents)), nil)
				return err == nil && response.StatusCode == 200
			})
		})
	}
}

// A client that sends without end is dropped.
func TestTalkingClient(t *testing.T) {
	s, address := serveStream(t, 2)
	go s.repeat(t.Context())
	silent := dial(t, address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	talking := dial(t, address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	eventually(t, "both are there", func() bool { return len(s.state().List) == 2 })
	for _, conn := range []net.Conn{silent, talking} {
		conn.Write(make([]byte, 1000)) // which may be a mistake
	}
	time.Sleep(100 * time.Millisecond)
	if got := len(s.state().List); got != 2 {
		t.Errorf("%d clients after a few bytes, want both", got)
	}
	talking.Write(make([]byte, 2*maxInput))
	eventually(t, "it is dropped", func() bool { return len(s.state().List) == 1 })
	publishJPEG(s, picture1)
	checkAnswer(t, silent, "")
}

// slowly reads conn at a rate in bytes per second, until it ends.
func slowly(conn net.Conn, rate int) (n int, err error) {
	b := make([]byte, rate/10)
	for err == nil {
		time.Sleep(time.Second / 10)
		var got int
		got, err = io.ReadFull(conn, b)
		n += got
	}
	return n, err
}

// A client that takes bytes gets all of a frame, however long that takes. One that takes next
// to nothing does not keep it for ever.
func TestSlowClient(t *testing.T) {
	const size = 6 << 20
	for _, tt := range []struct {
		rate    int // bytes per second
		dropped time.Duration
	}{
		{3e6 / 8, 0}, // 17 s for the frame
		{2 * minClientRate, 0},
		{minClientRate / 2, 20 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.rate), func(t *testing.T) {
			for _, early := range []bool{true, false} { // or the frame comes before the client
				synctest.Test(t, func(t *testing.T) {
					s := startStream(t)
					large := append(testJPEG(frameSize+1024, 1), make([]byte, size)...)
					if !early {
						publishJPEG(s, large)
					}
					conn, far := net.Pipe()
					enter(t, s)
					s.addClient(conn, streamHead(false, nil), 0)
					ended := make(chan int)
					go func() {
						n, _ := slowly(far, tt.rate)
						ended <- n
					}()
					time.Sleep(time.Second)
					if early {
						publishJPEG(s, large)
					}
					start := time.Now()
					if tt.dropped > 0 {
						<-ended
						if took := time.Since(start); took < clientTimeout || took > tt.dropped+2*time.Second {
							t.Errorf("it was dropped after %v, want %v", took, tt.dropped)
						}
						return
					}
					time.Sleep(time.Duration(size/tt.rate+10) * time.Second)
					if got := s.state().List; len(got) != 1 || got[0].Sent == 0 {
						t.Errorf("got %+v, want one client with a frame", got)
					}
					far.Close()
					<-ended
				})
			}
		})
	}
}

// The same over a socket, which takes many bytes at a time.
func TestSlowSocket(t *testing.T) {
	t.Parallel() // it mostly waits
	if testing.Short() {
		skip.Test(t, "it waits for 10 s and more", "run it without -short")
	}
	s, address := serveStream(t, 1)
	go s.repeat(t.Context())
	conn := dial(t, address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	conn.SetDeadline(time.Now().Add(10 * limit))
	conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	eventually(t, "it is there", func() bool { return len(s.state().List) == 1 })
	publishJPEG(s, append(testJPEG(frameSize+1024, 1), make([]byte, 6<<20)...))
	go slowly(conn, 400<<10)
	for start := time.Now(); time.Since(start) < 10*limit; time.Sleep(time.Second / 10) {
		if list := s.state().List; len(list) == 0 || list[0].Sent == 1 {
			t.Logf("it took %v", time.Since(start))
			break
		}
	}
	if list := s.state().List; len(list) != 1 || list[0].Sent == 0 {
		t.Errorf("got %+v, want one client that has the frame", list)
	}
}

// A response that goes on is not cut off, and one that stalls is.
func TestSlowAnswers(t *testing.T) {
	large := append(testJPEG(frameSize+1024, 1), make([]byte, 1<<20)...)
	for _, tt := range []struct {
		path string
		size int // at least
		rate int
		cut  bool
	}{
		{"/snapshot?max_age=1h", 1 << 20, 40_000, false}, // 26 s
		{"/snapshot?max_age=1h", 1 << 20, minClientRate, false},
		{"/snapshot?max_age=1h", 1 << 20, 1000, true},
	} {
		t.Run(fmt.Sprint(tt.path, " ", tt.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startStream(t)
				publishJPEG(s, large)
				dial, _ := servePipes(t, s, &supervisor{stream: s})
				n, err := slowly(dial("GET "+tt.path+" HTTP/1.0\r\n\r\n"), tt.rate)
				if n < tt.size != tt.cut {
					t.Errorf("got %d bytes, error %v; want %d, cut %v", n, err, tt.size, tt.cut)
				}
			})
		})
	}
}

// A snapshot or the reason why there is none comes also after a wait that is longer
// than a write may take.
func TestLateSnapshot(t *testing.T) {
	for _, comes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := startStream(t)
			k := &supervisor{stream: s}
			k.updateStatus(func(st *cameraStatus) { st.FPS = 0.05 })
			dial, _ := servePipes(t, s, k)
			conn := dial("GET /snapshot HTTP/1.0\r\n\r\n")
			want := "503 Service Unavailable"
			if comes {
				want = "200 OK"
				time.AfterFunc(30*time.Second, func() { publishJPEG(s, picture1) })
			}
			if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.0 "+want) {
				t.Errorf("got %.60q, want %s", got, want)
			}
		})
	}
}

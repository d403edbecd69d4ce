package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A lockedText is what several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// keepLog returns what is logged of a stream's panics.
func keepLog(s *stream) *lockedText {
	logged := new(lockedText)
	s.panics.log = log.New(logged, "", 0)
	return logged
}

// A faultyCamera is a fakeCamera that panics where it is told to.
type faultyCamera struct {
	*fakeCamera
	where atomic.Value // the name of a method; "" for none
}

func (c *faultyCamera) fail(method string) {
	if c.where.Load() == method {
		panic(fmt.Sprintf("fault in %s at %v", method, time.Now()))
	}
}

func (c *faultyCamera) open(device string, want settings) (camera, error) {
	_, err := c.fakeCamera.open(device, want)
	c.fail("open")
	return c, err
}

func (c *faultyCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	dst, at, err := c.fakeCamera.Capture(ctx, dst)
	c.fail("Capture")
	if c.where.Load() == "nothing" {
		return nil, at, nil
	}
	return dst, at, err
}

func (c *faultyCamera) Info() cameraInfo {
	c.fail("Info")
	return c.fakeCamera.Info()
}

func (c *faultyCamera) choices() choices {
	c.fail("choices")
	return choices{}
}

func (c *faultyCamera) setControls([]controlSetting) error { return nil }

func (c *faultyCamera) devices() []string {
	c.fail("devices")
	return c.fakeCamera.devices()
}

// superviseFaulty runs a supervisor of a camera that panics in a method.
func superviseFaulty(t *testing.T, method string) (sv *supervisor, c *faultyCamera, panics *lockedText) {
	c = &faultyCamera{fakeCamera: &fakeCamera{begin: time.Now(), device: "/dev/video0"}}
	c.where.Store(method)
	d := c.driver()
	d.open, d.devices = c.open, c.devices
	s := startStream(t)
	panics = keepLog(s)
	sv = newSupervisor(s, []driver{d}, settings{camera: "auto", width: 640, height: 480}, 10*time.Second, s.panics.log)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { sv.run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	synctest.Wait()
	return sv, c, panics
}

// A camera that panics, wherever that is, is lost: it is closed, and tried again once a second
// until it works. Its stack is in the log once.
func TestCameraPanics(t *testing.T) {
	for _, method := range []string{"open", "Capture", "Info", "choices", "devices", "nothing"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sv, c, panics := superviseFaulty(t, "")
				v := newViewer(t, sv.stream, 0)
				time.Sleep(5 * time.Second)
				before, _ := c.history()

				c.where.Store(method)
				if method == "open" || method == "devices" { // which are not called while it works
					c.set("/dev/video0", nil, errors.New("no picture"))
				}
				time.Sleep(time.Minute)
				if st := sv.currentStatus(); method != "choices" && st.Mode != modeLost {
					t.Errorf("mode %q, want %q", st.Mode, modeLost)
				}
				opened, closed := c.history()
				if n := len(opened) - len(before); n > 70 {
					t.Errorf("opened %d times in a minute, want once a second at most", n)
				}
				if n := len(opened) - len(closed); n > 1 && method != "open" { // who panics there has to clean up there
					t.Errorf("opened %d times, closed %d times", len(opened), len(closed))
				}

				c.where.Store("")
				c.set("/dev/video0", nil, nil)
				time.Sleep(retryInterval + 500*time.Millisecond)
				if st := sv.currentStatus(); st.Mode != modeLive || st.Reason != "" {
					t.Errorf("mode %q, reason %q after the last panic", st.Mode, st.Reason)
				}
				if err := v.ended(); err != nil {
					t.Errorf("the viewer was disconnected: %v", err)
				}
				text := panics.String()
				if n := strings.Count(text, "panic: "); method != "choices" && n == 0 || n > 4 {
					t.Errorf("%d panics are in the log, want one of each stack:\n%s", n, text)
				}
				if n := strings.Count(text, "a fault in porthole"); n > 2 {
					t.Errorf("%d lines in the log say that there is a fault:\n%s", n, text)
				}
			})
		})
	}
}

// The very first panic of a camera is that of a look at the start.
func TestCameraPanicsAtStart(t *testing.T) {
	for _, method := range []string{"open", "Info", "choices", "devices"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sv, c, panics := superviseFaulty(t, method)
				if !strings.Contains(panics.String(), "panic: fault in "+method) || !strings.Contains(sv.currentStatus().Reason, "a fault in porthole") {
					t.Errorf("reason %q, logged %q; want the panic", sv.currentStatus().Reason, panics)
				}
				c.where.Store("")
				newViewer(t, sv.stream, 0)
				time.Sleep(2 * time.Second)
				if mode := sv.currentStatus().Mode; mode != modeLive {
					t.Errorf("mode %q after the panic, want %q", mode, modeLive)
				}
			})
		})
	}
}

// A still of a camera that panics is refused, and not taken again and again.
func TestStillPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sv, c, panics := superviseFaulty(t, "")
		st, err := sv.requestStill(1920, 1080, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c.where.Store("Capture")
		<-st.done
		sv.releaseStill(st)
		if p := (*panicError)(nil); !errors.As(st.err, &p) || strings.Count(panics.String(), "panic: ") != 1 {
			t.Errorf("got error %v, logged %q", st.err, panics)
		}
		time.Sleep(time.Minute)
		opened, closed := c.history()
		if len(opened) != 2 || len(closed) != 2 {
			t.Errorf("opened at %v, closed at %v; want one look and one try", opened, closed)
		}
	})
}

// A faultyConn is a connection that panics when it is written to, or closed by the other end.
type faultyConn struct {
	net.Conn
	write, read bool
}

func (c faultyConn) Write(b []byte) (int, error) {
	if c.write {
		panic("fault in Write")
	}
	return c.Conn.Write(b)
}

func (c faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.read {
		panic("fault in Read")
	}
	return n, err
}

// A client that panics is dropped, and no other.
func TestClientPanics(t *testing.T) {
	for name, faulty := range map[string]faultyConn{"Write": {write: true}, "Read": {read: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startStream(t)
				panics := keepLog(s)
				good := newViewer(t, s, 0)
				for range 3 {
					near, far := net.Pipe()
					faulty.Conn = near
					enter(t, s)
					s.addClient(faulty, streamHead(false, nil), 0)
					if faulty.read {
						go io.WriteString(far, "something")
					}
					go io.Copy(io.Discard, far) // ends if the connection is closed
				}
				for i := range 5 {
					time.Sleep(100 * time.Millisecond)
					publishJPEG(s, numberedJPEG(i+1))
				}
				synctest.Wait()
				if st := s.state(); len(st.List) != 1 || st.Viewers != 1 || len(good.received()) != 5 {
					t.Errorf("%d clients, %d viewers, and the good one has %d frames; want 1, 1 and 5", len(st.List), st.Viewers, len(good.received()))
				}
				if f := s.latest.Load(); f.refs.Load() != 1 {
					t.Errorf("the newest frame has %d holders, want the stream alone", f.refs.Load())
				}
				if n := strings.Count(panics.String(), "panic: fault in "+name); n != 1 {
					t.Errorf("%d panics are in the log, want 1:\n%s", n, panics)
				}
			})
		})
	}
}

// A panic in the broadcaster costs the client that it sends to, and nobody else.
func TestBroadcasterPanics(t *testing.T) {
	if thisHost.sockets.send == nil {
		t.Skip("no broadcasters here")
	}
	var frames atomic.Int32
	sockets := thisHost.sockets
	sockets.send = func(fd uintptr, b []byte) (int, error) {
		if frames.Add(1) == 10 {
			panic("fault in send")
		}
		return thisHost.sockets.send(fd, b)
	}
	s, address := serveStreamOn(t, 3, sockets)
	panics := keepLog(s)
	var viewers []*viewer
	for range 3 {
		conn, err := watch(address, "/stream")
		if err != nil {
			t.Fatal(err)
		}
		viewers = append(viewers, startViewer(t, conn))
	}
	eventually(t, "all are there", func() bool { return len(s.state().List) == 3 })
	eventually(t, "one was dropped", func() bool {
		publishJPEG(s, numberedJPEG(1))
		return s.state().Viewers == 2
	})
	publishJPEG(s, numberedJPEG(1))
	eventually(t, "the others have the newest frame", func() bool {
		have := 0
		for _, v := range viewers {
			if v.newest() == int(s.latest.Load().number) {
				have++
			}
		}
		return have == 2
	})
	eventually(t, "only the stream holds it", func() bool { return s.latest.Load().refs.Load() == 1 })
	if text := panics.String(); strings.Count(text, "panic: ") != 1 || !strings.Contains(text, "(*client).send ") {
		t.Errorf("logged %q, want one panic with the stack of who sent", text)
	}
}

// A request that panics is answered with 500, unless its answer has begun: then the connection
// is closed.
func TestRequestPanics(t *testing.T) {
	s := newStream(1, thisHost.sockets)
	panics := keepLog(s)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic("before the answer") })
	mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		sendBody(w, make([]byte, 10))
		http.NewResponseController(w).Flush()
		panic("inside the answer")
	})
	mux.HandleFunc("/probe", func(w http.ResponseWriter, r *http.Request) {
		ctx, end := untilHangup(r, func() error { panic("in the probe") })
		<-ctx.Done()
		end()
	})
	l, err := openListener(t.Context(), thisHost.listen, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serverLog lockedText
	web := newWebServer(t.Context(), s.panics.handler(mux), thisHost.sockets, log.New(&serverLog, "", 0))
	go web.Serve(l)
	defer web.Close()
	url := "http://" + l.Addr().String()

	for range 3 {
		if got := ask(t, "GET", url); got.StatusCode != 500 || !strings.Contains(text(t, got), "a fault in porthole") {
			t.Errorf("got %s, want 500", got.Status)
		}
	}
	late := ask(t, "GET", url+"/late")
	if body, err := io.ReadAll(late.Body); len(body) != 10 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, error %v; want the beginning and no end", body, err)
	}
	if thisHost.sockets.isHungUp != nil { // else it is not asked for a sign of life
		conn := dial(t, l.Addr().String(), "GET /probe HTTP/1.1\r\nHost: test\r\n\r\n")
		conn.(*net.TCPConn).CloseWrite()
		answer := make([]byte, 12)
		if _, err := io.ReadFull(conn, answer); string(answer) != "HTTP/1.1 500" {
			t.Errorf("got %q, error %v; want status 500", answer, err)
		}
	}
	web.Close()
	for _, what := range []string{"before the answer", "inside the answer"} {
		if n := strings.Count(panics.String(), what); n != 1 {
			t.Errorf("logged %d times what panics %s, want once", n, what)
		}
	}
	if text := serverLog.String(); text != "" {
		t.Errorf("the server logged %q", text)
	}
}

// A panic after a connection was taken from the server closes it, and counts the viewer out.
func TestStreamRequestPanics(t *testing.T) {
	sockets := thisHost.sockets
	if sockets.send == nil {
		t.Skip("nothing is asked of sockets here")
	}
	sockets.limitUnsent = func(uintptr) { panic("fault in limitUnsent") }
	s, address := serveStreamOn(t, 3, sockets) // one may be counted out after the next came
	panics := keepLog(s)
	goroutines := runtime.NumGoroutine()
	for range 3 {
		conn := dial(t, address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("got %q, error %v; want the end", got, err)
		}
	}
	eventually(t, "nothing is left of them", func() bool { return s.state().Viewers == 0 && runtime.NumGoroutine() <= goroutines })
	if n := strings.Count(panics.String(), "panic: "); n != 1 {
		t.Errorf("%d panics are in the log, want 1:\n%s", n, panics)
	}
}

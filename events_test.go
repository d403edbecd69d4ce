package main

import (
	"bufio"
	"context"
	"encoding/json"
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

// A pipeListener takes connections that have no kernel in between: for use with
// a fake clock, and nothing lies in a buffer.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipe"} }

// servePipes serves s and k to connections from dial, as serve does; end stops it
// and reports whether all was finished in time.
func servePipes(t *testing.T, s *stream, k *supervisor) (dial func(request string) net.Conn, end func() error) {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	web := newWebServer(ctx, newHandler(s, k), thisHost.sockets, log.New(io.Discard, "", 0))
	go web.Serve(l)
	dial = func(request string) net.Conn {
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		l.conns <- near
		io.WriteString(far, request)
		return far
	}
	end = sync.OnceValue(func() error {
		cancel()
		short, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		return web.Shutdown(short)
	})
	t.Cleanup(func() {
		end()
		web.Close()
	})
	return dial, end
}

// A reading is an endless answer that is read line by line.
type reading struct {
	response *http.Response

	mu    sync.Mutex
	lines []line
	err   error // what ended it; io.EOF if it ended as it should
}

type line struct {
	at   time.Time
	text string // with its end
}

// readLines reads the answer that comes over conn.
func readLines(t *testing.T, conn net.Conn) *reading {
	t.Helper()
	b := bufio.NewReader(conn)
	response, err := http.ReadResponse(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &reading{response: response}
	go func() {
		body := bufio.NewReader(response.Body)
		for r.ended() == nil {
			text, err := body.ReadString('\n')
			r.mu.Lock()
			if r.err = err; text != "" {
				r.lines = append(r.lines, line{time.Now(), text})
			}
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *reading) ended() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// take returns the lines that came since it was called last.
func (r *reading) take() []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// texts returns the same lines as they are.
func (r *reading) texts() string {
	var all strings.Builder
	for _, l := range r.take() {
		all.WriteString(l.text)
	}
	return all.String()
}

// An event is the state as it was told, and when.
type event struct {
	at time.Time
	state
}

// takeEvents returns the events that came since; comments and what is between
// events are left out.
func (r *reading) takeEvents(t *testing.T) []event {
	t.Helper()
	var all []event
	for _, l := range r.take() {
		text, isData := strings.CutPrefix(l.text, "data: ")
		if !isData {
			continue
		}
		e := event{at: l.at}
		if err := json.Unmarshal([]byte(text), &e.state); err != nil {
			t.Fatalf("%v in %q", err, l.text)
		}
		all = append(all, e)
	}
	return all
}

const getEvents = "GET /events HTTP/1.1\r\nHost: test\r\n\r\n"

// One who reads the events hears at once how it is, then what changes, and else
// nothing but a comment now and then. The camera is not opened for that.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		dial, _ := servePipes(t, k.stream, k)
		start := time.Now()
		r := readLines(t, dial(getEvents))
		for key, want := range map[string]string{
			"Content-Type":      "text/event-stream",
			"Cache-Control":     "no-store",
			"X-Accel-Buffering": "no",
		} {
			if got := r.response.Header.Get(key); got != want {
				t.Errorf("got %s: %s, want %s", key, got, want)
			}
		}

		time.Sleep(50*time.Second + time.Millisecond)
		lines := r.take()
		if len(lines) == 0 {
			t.Fatal("got nothing")
		}
		first, rest := lines[0], lines[1:]
		if first.at != start {
			t.Errorf("the first event came after %v, want it at once", first.at.Sub(start))
		}
		got := ""
		for _, l := range rest {
			got += fmt.Sprintf("%v:%q ", l.at.Sub(start), l.text)
		}
		if want := `0s:"\n" 15s:":\n" 30s:":\n" 45s:":\n" `; got != want {
			t.Errorf("while nothing happened got\n%s\nwant\n%s", got, want)
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(first.text, "data: ")), &object); err != nil {
			t.Fatal(err)
		}
		checkKeys(t, object, "online", "camera", "driver", "device", "format", "encoder", "width", "height", "fps_granted",
			"mode", "frames_damaged", "times_opened", "fps_measured", "frames_captured", "frames_repeated",
			"frames_sent", "bytes_sent", "clients_total", "viewers", "clients", "uptime_s", "time_s", "version")
		if object["mode"] != modeIdle || object["viewers"] != 0.0 {
			t.Errorf("got mode %v and %v viewers, want none and the camera released", object["mode"], object["viewers"])
		}
		if opened, _ := c.history(); len(opened) != 1 {
			t.Errorf("the camera was opened at %v, want only the look at the start", opened)
		}
	})
}

// An event comes within a second of what it tells, and none sooner than a second
// after the one before.
func TestEventsTellChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		dial, _ := servePipes(t, k.stream, k)
		r := readLines(t, dial(getEvents))
		time.Sleep(300 * time.Millisecond)
		r.take()

		v := newViewer(t, k.stream, 0)
		time.Sleep(time.Second)
		if got := r.takeEvents(t); len(got) != 1 || got[0].Viewers != 1 || got[0].Mode != modeLive || !got[0].Online {
			t.Fatalf("got %+v in the second after a viewer came, want one event that tells it", got)
		}
		time.Sleep(10 * time.Second)
		got := r.takeEvents(t)
		if len(got) != 10 {
			t.Errorf("got %d events in 10 s in which frames came, want 10", len(got))
		}
		for i := 1; i < len(got); i++ {
			if apart := got[i].at.Sub(got[i-1].at); apart < time.Second || got[i].Frames <= got[i-1].Frames {
				t.Errorf("got %d frames %v after %d, want more and a second", got[i].Frames, apart, got[i-1].Frames)
			}
		}

		c.set("", nil, errors.New("/dev/video0: the camera is gone: was it unplugged?"))
		time.Sleep(time.Second + 100*time.Millisecond) // it notices when the next frame is due
		if got := r.takeEvents(t); len(got) != 1 || got[0].Mode != modeLost || got[0].Reason == "" || got[0].Online {
			t.Errorf("got %+v in the second after the camera was lost, want one event that tells it", got)
		}
		v.conn.Close()
		time.Sleep(5 * time.Second)
		if got := r.takeEvents(t); len(got) == 0 || got[len(got)-1].Viewers != 0 || got[len(got)-1].Mode != modeIdle {
			t.Errorf("got %+v after the viewer went, want that told", got)
		}
		time.Sleep(time.Minute)
		if got := r.takeEvents(t); len(got) != 0 {
			t.Errorf("got %+v while nothing happened", got)
		}
	})
}

// There may be as many readers as viewers, and one that goes makes room at once.
func TestMaxReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		s.maxViewers = 2
		dial, _ := servePipes(t, s, &supervisor{stream: s})
		enter(t, s) // viewers take no reader's place
		enter(t, s)
		first := dial(getEvents)
		readLines(t, first)
		readLines(t, dial(getEvents))
		r := readLines(t, dial(getEvents))
		synctest.Wait()
		const want = "too many readers: 2 have the events already (see -max-clients)\n"
		if got := r.texts(); r.response.StatusCode != 503 || got != want || r.response.Header.Get("Retry-After") == "" {
			t.Errorf("got %s %q, want 503 %q and when to try again", r.response.Status, got, want)
		}
		first.Close()
		synctest.Wait() // no time passes in here
		if r := readLines(t, dial(getEvents)); r.response.StatusCode != 200 {
			t.Errorf("got %s after one went, want room for another", r.response.Status)
		}
		if got := s.state().Viewers; got != 2 {
			t.Errorf("got %d viewers, want the 2 that there are without the readers", got)
		}
	})
}

// A reader that takes nothing is dropped when its patience is over. It holds up
// nobody meanwhile.
func TestStuckReaders(t *testing.T) {
	for _, path := range []string{"/events", "/frames.csv"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startStream(t)
				dial, _ := servePipes(t, s, &supervisor{stream: s})
				v := newViewer(t, s, 0)
				before := runtime.NumGoroutine()
				dial("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n") // takes not even the header
				for i := range 95 {
					publishJPEG(s, testJPEG(frameSize+1024, 1))
					synctest.Wait()
					if got := v.newest(); got != i+1 {
						t.Fatalf("the viewer has frame %d, want %d", got, i+1)
					}
					time.Sleep(100 * time.Millisecond)
				}
				if runtime.NumGoroutine() <= before {
					t.Error("it is gone after 9.5 s, want it to have its 10")
				}
				time.Sleep(time.Second)
				if got := s.state().Viewers; got != 1 {
					t.Errorf("got %d viewers after 10.5 s, want the one that reads", got)
				}
				if got := runtime.NumGoroutine(); got > before {
					t.Errorf("got %d goroutines after 10.5 s, want %d as before", got, before)
				}
			})
		})
	}
}

// The end comes in chunks as it should, also after a silence that is longer than
// a write may take.
func TestReadersAtTheEnd(t *testing.T) {
	for _, path := range []string{"/events", "/frames.csv"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startStream(t)
				dial, end := servePipes(t, s, &supervisor{stream: s})
				r := readLines(t, dial("GET "+path+" HTTP/1.1\r\nHost: test\r\n\r\n"))
				time.Sleep(clientTimeout + 3*time.Second)
				start := time.Now()
				if err := end(); err != nil {
					t.Errorf("after %v: %v, want all answers finished", time.Since(start), err)
				}
				synctest.Wait()
				if err := r.ended(); err != io.EOF {
					t.Errorf("the answer ended with %v, want the chunk that ends it", err)
				}
				if got := s.state().Viewers; got != 0 {
					t.Errorf("got %d viewers, want none", got)
				}
			})
		})
	}
}

// TestStopReaders ends porthole itself.
func TestStopReaders(t *testing.T) {
	p := launch(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "30")
	var all []*reading
	for i := range 20 {
		path := []string{"/events", "/frames.csv"}[i%2]
		all = append(all, readLines(t, dial(t, p.address, "GET "+path+" HTTP/1.1\r\nHost: test\r\n\r\n")))
	}
	for _, r := range all {
		eventually(t, "it has begun", func() bool { return len(r.take()) > 0 })
	}
	start := time.Now()
	if got := p.stop(); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	t.Logf("it ended %v after SIGTERM", time.Since(start))
	for _, r := range all {
		eventually(t, "it has ended", func() bool { return r.ended() != nil })
		if err := r.ended(); err != io.EOF {
			t.Errorf("%s: ended with %v, want the chunk that ends it", r.response.Header.Get("Content-Type"), err)
		}
	}
}

// TestManyReaders has 500 of each at a time. Nothing is left of them.
func TestManyReaders(t *testing.T) {
	t.Parallel() // it mostly waits
	const each = 500
	s, address := serveStream(t, each)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.repeat(ctx)
	jpeg := testJPEG(frameSize+1024, 1)
	for range maxFree {
		publishJPEG(s, jpeg)
	}
	before := runtime.NumGoroutine()
	var conns []net.Conn
	var reading sync.WaitGroup
	var served atomic.Uint32 // readers that got more than the first
	for i := range 2 * each {
		path := []string{"/events", "/frames.csv"}[i%2]
		conn := dial(t, address, "GET "+path+" HTTP/1.1\r\nHost: test\r\n\r\n")
		conns = append(conns, conn)
		reading.Go(func() {
			n := 0 // rows, or events
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if strings.Count(lines.Text(), ",") < 3 {
					continue
				}
				if n++; n == 3 {
					served.Add(1)
				}
			}
		})
	}
	eventually(t, "all are there", func() bool { return s.state().Viewers == each })
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for {
			select {
			case <-time.After(20 * time.Millisecond):
				publishJPEG(s, jpeg)
			case <-stop:
				return
			}
		}
	})
	eventually(t, "all get rows and events", func() bool { return served.Load() == 2*each })

	// What is made per frame and per event is garbage at most: only a leak grows each time.
	grown := int64(0)
	for first, round := heap(), 0; round < 5; round++ {
		at := s.state().Frames
		eventually(t, "100 more frames came", func() bool { return s.state().Frames >= at+100 })
		last := heap()
		t.Logf("heap with %d readers: %d KB, and %d KB after 100 frames", 2*each, first>>10, last>>10)
		if grown = int64(last) - int64(first); grown <= 2<<20 {
			break
		}
		first = last
	}
	if grown > 2<<20 {
		t.Errorf("the heap grows by %d KB in 100 frames to %d readers", grown>>10, 2*each)
	}
	close(stop)
	publishing.Wait()

	for _, conn := range conns {
		conn.Close()
	}
	reading.Wait()
	eventually(t, "all are gone", func() bool { return s.state().Viewers == 0 })
	eventually(t, "their goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	if f := s.latest.Load(); f.refs.Load() != 1 {
		t.Errorf("the newest frame has %d holders, want the stream alone", f.refs.Load())
	}
}

// heap returns how many bytes are in use on the heap.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // and what the first left to finalizers and pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"porthole/testdata/skip"
)

// A client that comes before the camera has a picture waits for it, also if it is not the
// first. Time would not pass in this test if the client was busy.
func TestClientBeforeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		publishJPEG(s, testJPEG(frameSize+1024, 1))
		s.dropLatest()
		v := newViewer(t, s, 0)
		time.Sleep(time.Second)
		publishJPEG(s, testJPEG(frameSize+1024, 2))
		synctest.Wait()
		if got := v.newest(); got != 2 {
			t.Errorf("the newest picture is %d, want 2", got)
		}
	})
}

// A client that hangs up while no frames come at all is gone within 2 s.
func TestClientGoesWithoutFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		v := newViewer(t, s, 0)
		time.Sleep(3 * time.Second)
		v.conn.Close()
		time.Sleep(2 * time.Second)
		if st := s.state(); st.Viewers != 0 || len(st.List) != 0 {
			t.Errorf("%d viewers, %d clients 2 s after the only one went", st.Viewers, len(st.List))
		}
	})
}

// A client that takes nothing is dropped after clientTimeout, and holds one frame at most
// until then.
func TestStuckClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		conn, far := net.Pipe() // takes a byte only when one is read
		defer far.Close()
		enter(t, s)
		s.addClient(conn, streamHead(false, nil), 0)
		for range 85 {
			time.Sleep(100 * time.Millisecond)
			publishJPEG(s, testJPEG(frameSize+1024, 1))
		}
		if n := len(s.state().List); n != 1 {
			t.Fatalf("%d clients after 8.5 s, want 1: one may pause", n)
		}
		time.Sleep(2 * time.Second)
		if n := len(s.state().List); n != 0 {
			t.Fatalf("%d clients after 10.5 s in which it took nothing, want 0", n)
		}
		if len(s.free) > 2 {
			t.Errorf("%d frames were needed for one stuck client", len(s.free))
		}
	})
}

// ?fps= is what a client gets at most, and nearly, whatever the camera does.
func TestSpacing(t *testing.T) {
	tests := []struct {
		camera, asked float64 // frames per second
		want          int     // frames in 10 s
	}{
		{camera: 30, asked: 15, want: 150},
		{camera: 30, asked: 10, want: 100},
		{camera: 30, asked: 7, want: 70},
		{camera: 30, asked: 120, want: 300},
		{camera: 25, asked: 24, want: 240},
		{camera: 10, asked: 0.5, want: 5},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v of %v", tt.asked, tt.camera), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startStream(t)
				spacing, err := parseSpacing(strconv.FormatFloat(tt.asked, 'g', -1, 64))
				if err != nil {
					t.Fatal(err)
				}
				v := newViewer(t, s, spacing)
				frame := testJPEG(frameSize+1024, 1)
				for i := range int(10 * tt.camera) {
					publishJPEG(s, frame)
					jitter := time.Duration(i%3-1) * time.Millisecond
					time.Sleep(time.Duration(float64(time.Second)/tt.camera) + jitter)
				}
				if got := len(v.received()); got < tt.want-2 || got > tt.want+2 {
					t.Errorf("got %d frames in 10 s, want about %d", got, tt.want)
				}
			})
		})
	}
}

// slowConn reads little at a time, and rarely.
type slowConn struct{ net.Conn }

func (c slowConn) Read(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return c.Conn.Read(b[:min(len(b), 3000)])
}

// When the board's link is too slow for some clients, their frames leave it one after the
// other. Clients over another link do not wait.
func TestSlowClientsTakeTurns(t *testing.T) {
	if thisHost.sockets.isQueued == nil {
		skip.Test(t, "this system does not tell what a socket has queued", "run it on Linux")
	}
	var (
		mu    sync.Mutex
		whose uintptr // turn it is
		begun time.Time
		looks int // how often was looked in it
		turns = make(map[uintptr]int)
		mixed int
	)
	sockets := thisHost.sockets
	sockets.isQueued = func(fd uintptr) bool {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(begun) > maxTurn { // on a very busy machine
			looks = 0
		}
		if looks > 0 && fd != whose {
			mixed++
		}
		if looks == 0 {
			whose, begun = fd, time.Now()
			turns[fd]++
		}
		looks = (looks + 1) % 3
		return looks != 0
	}
	s, address := serveStreamOn(t, 4, sockets)
	var conns []net.Conn
	for range 4 {
		conn, err := watch(address, "/stream")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	fast := startViewer(t, conns[0])
	for _, conn := range conns[1:] {
		startViewer(t, slowConn{conn})
	}
	eventually(t, "all are there", func() bool { return len(s.state().List) == 4 })
	eventually(t, "each slow client had ten turns", func() bool {
		n := fast.newest() + 1
		publishJPEG(s, numberedJPEG(n))
		eventually(t, "the fast one has each frame", func() bool { return fast.newest() == n })
		mu.Lock()
		defer mu.Unlock()
		return len(turns) == 3 && slices.Min(slices.Collect(maps.Values(turns))) >= 10
	})
	mu.Lock()
	defer mu.Unlock()
	if mixed > 0 {
		t.Errorf("%d times a client was sent to in another's turn", mixed)
	}
}

// Clients that never read, stand still or never finish their request delay
// nobody else, and leave nothing behind.
func TestBadClients(t *testing.T) {
	s, address := serveStream(t, 200)
	goroutines := runtime.NumGoroutine()
	good, err := watch(address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	v := startViewer(t, good)
	var bad []net.Conn
	for i := range 250 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		bad = append(bad, conn)
		if i < 50 { // never reads
			fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
		} else { // never finishes
			fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost:")
		}
	}
	eventually(t, "all clients are there", func() bool { return len(s.state().List) == 51 })

	// In step: the next frame is published when the good client has this one,
	// so that it gets every frame unless somebody keeps it from it.
	for i := range 300 {
		publishJPEG(s, numberedJPEG(i+1))
		eventually(t, "the good client has the frame", func() bool { return v.newest() == i+1 })
	}
	if n := len(v.received()); n != 300 {
		t.Errorf("the good client got %d frames of 300", n)
	}
	if frames := framesAlive(s); frames > 51+maxFree+1 {
		t.Errorf("%d frames for 51 clients", frames)
	}

	for _, conn := range bad {
		conn.Close()
	}
	good.Close()
	eventually(t, "all clients are gone", func() bool {
		publishJPEG(s, numberedJPEG(0))
		return len(s.state().List) == 0 && s.state().Viewers == 0
	})
	eventually(t, "their goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
	if f := s.latest.Load(); f.refs.Load() != 1 {
		t.Errorf("the newest frame has %d holders, want the stream alone", f.refs.Load())
	}
}

// A client that has a part of a frame when the program ends gets the rest.
func TestCloseInsideFrame(t *testing.T) {
	s, address := serveStream(t, 1)
	conn, err := watch(address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "it is there", func() bool { return len(s.state().List) == 1 })
	publishJPEG(s, append(testJPEG(frameSize+1024, 1), make([]byte, 16<<20)...)) // more than sockets take
	f := s.latest.Load()
	eventually(t, "it has a part", func() bool { return f.refs.Load() == 2 })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.close(clientTimeout)
	}()
	eventually(t, "it is to go", func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.closed
	})
	all, err := io.ReadAll(conn)
	if err != nil || !bytes.HasSuffix(all, f.part) {
		t.Errorf("got %d bytes, error %v; want a whole frame of %d", len(all), err, len(f.part))
	}
	<-closed
}

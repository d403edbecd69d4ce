package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"porthole/testdata/skip"
)

// 300 clients that join one after another, each at another frame of 1 MB, and take nothing hold
// back no more than 16 MB: those that have held a frame for longest are dropped, whether they
// asked for the stream or for a snapshot. A good client gets every frame meanwhile.
func TestHeldFramesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, size = 300, 1 << 20
		s := newStream(clients+1, thisHost.sockets)
		dial, end := servePipes(t, s, &supervisor{stream: s})
		good := readNumbers(dial("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n"))
		jpeg := append(testJPEG(frameSize+1024, 1), make([]byte, size-frameSize-2048)...)
		frames := make(map[*frame]bool)
		var stalled []net.Conn
		for i := range clients {
			f := s.getFrame()
			frames[f] = true
			f.settled = true
			s.publish(f, append(f.jpegBuffer(), jpeg...), time.Now())
			stalled = append(stalled, dial([]string{
				"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n",
				"GET /snapshot?max_age=1m HTTP/1.1\r\nHost: test\r\n\r\n",
			}[i%2]))
			synctest.Wait()
			if held := heldBytes(frames); held > maxHeld+cap(f.buf) {
				t.Fatalf("%d bytes are in frames that somebody holds, want %d and the newest frame at most", held, maxHeld)
			}
		}
		left := 0
		for i, conn := range stalled {
			_, err := conn.Read(make([]byte, 1))
			if err == nil {
				left++
			} else if left > 0 || !errors.Is(err, io.EOF) {
				t.Errorf("client %d ended with %v, and %d before it did not", i, err, left)
			}
		}
		if left < 14 || left > 17 {
			t.Errorf("%d stalled clients are left, want about 16", left)
		}
		for _, conn := range stalled {
			conn.Close()
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		for i := range clients {
			if number := <-good; number != i+1 {
				t.Fatalf("the good client got frame %d, want %d", number, i+1)
			}
		}
	})
}

// heldBytes returns how many bytes the frames take that somebody holds.
func heldBytes(frames map[*frame]bool) (bytes int) {
	for f := range frames {
		if f.refs.Load() > 0 {
			bytes += cap(f.buf)
		}
	}
	return bytes
}

// readNumbers reads the stream from conn and returns the numbers of its frames.
func readNumbers(conn net.Conn) <-chan int {
	numbers := make(chan int, 1000)
	go func() {
		defer close(numbers)
		parts, err := readStream(conn)
		for err == nil {
			part, end := parts.NextPart()
			if err = end; err == nil {
				_, err = io.Copy(io.Discard, part)
				number, _ := strconv.Atoi(part.Header.Get("X-Frame"))
				numbers <- number
			}
		}
	}()
	return numbers
}

// Clients that have watched for a while and then stall, with a part of a frame in their
// sockets, are dropped too when they hold back more frames than they may.
func TestWatchingClientsStall(t *testing.T) {
	if thisHost.sockets.send == nil {
		skip.Test(t, "this system's sockets wait until they take a whole frame", "run it on Linux")
	}
	const clients = 20
	var (
		mu      sync.Mutex
		stalled = make(map[uintptr]bool)
		next    bool // one more is to stall
	)
	sockets := thisHost.sockets
	sockets.send = func(fd uintptr, b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case stalled[fd]:
			return 0, syscall.EAGAIN
		case next:
			next, stalled[fd] = false, true
			return len(b) / 2, nil
		}
		return thisHost.sockets.send(fd, b)
	}
	s, address := serveStreamOn(t, clients, sockets)
	s.heldLimit = 0 // as many frames as minHeld
	startViewers(t, address, clients)
	eventually(t, "all clients are there", func() bool { return len(s.state().List) == clients })
	for i := range clients {
		mu.Lock()
		next = true
		mu.Unlock()
		publishJPEG(s, testJPEG(frameSize+1024, 1))
		eventually(t, fmt.Sprintf("client %d stalls", i), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return !next
		})
	}
	eventually(t, "those that stalled first are dropped", func() bool {
		publishJPEG(s, testJPEG(frameSize+1024, 1))
		return len(s.state().List) == minHeld
	})
}

// A snapshot that is taken in time leaves nothing behind.
func TestSnapshotsAreForgotten(t *testing.T) {
	s, address := serveStream(t, 1)
	publishJPEG(s, testJPEG(frameSize+1024, 1))
	if response := ask(t, http.MethodGet, "http://"+address+"/snapshot?max_age=1m"); len(text(t, response)) == 0 {
		t.Error("got no snapshot")
	}
	eventually(t, "it is forgotten", func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return len(s.snapshots) == 0 && s.latest.Load().refs.Load() == 1
	})
}

// While the camera is released, no frame is kept.
func TestFramesAreFreed(t *testing.T) {
	s := newStream(1, thisHost.sockets)
	for range 2 {
		publishJPEG(s, testJPEG(frameSize+1024, 1))
	}
	s.dropLatest()
	if len(s.free) > 0 || s.latest.Load() != nil {
		t.Errorf("%d free frames are left, and the newest is %v", len(s.free), s.latest.Load())
	}
}

func TestHeldLimit(t *testing.T) {
	for memory, want := range map[uint64]int{0: 16 << 20, 64 << 20: 4 << 20, 128 << 20: 8 << 20, 512 << 20: 16 << 20, 8 << 30: 16 << 20} {
		if got := heldLimit(memory); got != want {
			t.Errorf("%d MB of memory: got %d bytes, want %d", memory>>20, got, want)
		}
	}
}

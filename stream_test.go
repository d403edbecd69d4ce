package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// A new picture goes out at once, again after 250 ms, and then each second.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		v := newViewer(t, s, 0)
		start := time.Now()

		publishJPEG(s, testJPEG(frameSize+1024, 1))
		time.Sleep(2 * time.Second)
		publishJPEG(s, testJPEG(frameSize+1024, 2))
		time.Sleep(400 * time.Millisecond)

		got := ""
		for _, p := range v.received() {
			got += fmt.Sprintf("%v:%d ", p.at.Sub(start), p.number)
		}
		want := "0s:1 250ms:1 1.25s:1 2s:2 2.25s:2 "
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// When a viewer comes between two repeats, its first picture is sent again soon, so that
// browsers paint it.
func TestRepeatForNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		newViewer(t, s, 0)
		publishJPEG(s, testJPEG(frameSize+1024, 1))
		time.Sleep(1300 * time.Millisecond) // the next repeat would be at 2.25 s

		start := time.Now()
		v := newViewer(t, s, 0)
		time.Sleep(500 * time.Millisecond)
		got := ""
		for _, p := range v.received() {
			got += p.at.Sub(start).String() + " "
		}
		if want := "0s 250ms "; got != want {
			t.Errorf("got pictures at %s, want at %s", got, want)
		}
	})
}

// Parts begin and end where the kernel copies them fastest, and their headers fit into their
// space.
func TestPartsAreAligned(t *testing.T) {
	s := newStream(1, thisHost.sockets)
	for _, number := range []uint32{1, 42, 999, 4096, math.MaxUint32} {
		for more := range 8 {
			f := s.getFrame()
			f.layOut(append(f.jpegBuffer(), testJPEG(frameSize+1024+more, 1)...), time.Now(), number)
			start := uintptr(unsafe.Pointer(unsafe.SliceData(f.part)))
			if start%wordSize != 0 || len(f.part)%wordSize != 0 {
				t.Errorf("frame %d, %d bytes: begins at %#x and has %d bytes, want multiples of %d", number, len(f.jpeg), start, len(f.part), wordSize)
			}
			if added := len(f.jpeg) - (frameSize + 1024 + more); added < 0 || added >= wordSize {
				t.Errorf("%d bytes more than the picture has", added)
			}
			s.putFrame(f)
		}
	}
}

// Frames are reused while slow and fast clients read them, and yet every byte
// is right, and all see the newest in the end.
func TestEveryByte(t *testing.T) {
	s, address := serveStream(t, 20)
	const last = 300
	var viewers []*viewer
	for i := range 20 {
		conn, err := watch(address, "/stream")
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			conn = slowConn{conn}
		}
		viewers = append(viewers, startViewer(t, conn))
	}
	eventually(t, "all viewers are there", func() bool { return len(s.state().List) == len(viewers) })
	for i := range last {
		publishJPEG(s, numberedJPEG(i+1))
		time.Sleep(time.Millisecond)
	}
	for _, v := range viewers {
		eventually(t, "the last picture came", func() bool { return v.newest() == last })
		before := 0
		for _, p := range v.received() {
			if p.number <= before {
				t.Fatalf("picture %d came after %d", p.number, before)
			}
			before = p.number
			if !bytes.Equal(p.jpeg, sent(numberedJPEG(p.number))) {
				t.Fatalf("picture %d is not as it was published", p.number)
			}
		}
	}
	if st := s.state(); st.Frames != last {
		t.Errorf("%d frames captured, want %d", st.Frames, last)
	}
	if len(s.free) > maxFree {
		t.Errorf("%d free frames, want at most %d", len(s.free), maxFree)
	}
}

// numberedJPEG returns a JPEG that differs in size and content from those with
// other numbers.
func numberedJPEG(number int) []byte {
	return testJPEG(frameSize+1024+number%7*997, byte(number))
}

// Clients that take nothing hold at most a frame each, and besides those there
// are never more than one that is being filled, the newest, and the free ones.
func TestFramesAreBounded(t *testing.T) {
	const clients = 100
	s, address := serveStream(t, clients)
	for range clients {
		conn, err := watch(address, "/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	eventually(t, "all clients are there", func() bool { return len(s.state().List) == clients })
	jpeg := testJPEG(60_000, 1)
	frames := make(map[*frame]bool)
	for range 1000 {
		f := s.getFrame()
		frames[f] = true
		s.publish(f, append(f.jpegBuffer(), jpeg...), time.Now())
		time.Sleep(time.Millisecond)
	}
	if got, most := len(frames), clients+maxFree+2; got > most {
		t.Errorf("there were %d frames, want at most %d", got, most)
	}
}

// framesAlive counts the frames that clients hold, and those that none does.
func framesAlive(s *stream) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freeMu.Lock()
	defer s.freeMu.Unlock()
	return len(s.clients) + len(s.free) + 1
}

// The stream ends after a whole frame, and does not wait long for a client.
func TestClose(t *testing.T) {
	s, address := serveStream(t, 10)
	conn, err := watch(address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	v := startViewer(t, conn)
	stuck, err := watch(address, "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	eventually(t, "the clients are there", func() bool { return len(s.state().List) == 2 })
	for i := range 500 { // more than the stuck one's socket can take
		publishJPEG(s, numberedJPEG(i+1))
		eventually(t, "the good client has the frame", func() bool { return v.newest() == i+1 })
	}
	s.close(100 * time.Millisecond)
	eventually(t, "the client saw the end", func() bool { return v.ended() != nil })
	if err := v.ended(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want EOF behind a boundary", err)
	}
	if s.addViewer() {
		t.Error("a viewer can enter a closed stream")
	}
}

// Nothing is allocated for a frame, neither when it is published nor when it
// is delivered.
func TestAllocations(t *testing.T) {
	s, address := serveStream(t, 10)
	jpeg := testJPEG(frameSize+1024, 1)
	for range maxFree {
		publishJPEG(s, jpeg)
	}
	if n := testing.AllocsPerRun(100, func() { publishJPEG(s, jpeg) }); n != 0 {
		t.Errorf("%v allocations per published frame, want 0", n)
	}

	for range 10 {
		conn, err := watch(address, "/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() { // allocates nothing either
			b := make([]byte, 64<<10)
			for err := error(nil); err == nil; {
				_, err = conn.Read(b)
			}
		}()
	}
	eventually(t, "all clients are there", func() bool { return len(s.state().List) == 10 })
	number := uint32(0)
	deliver := func() {
		publishJPEG(s, jpeg)
		number++
		awaitSent(s, number)
	}
	for range 2 * maxFree {
		deliver()
	}
	if n := testing.AllocsPerRun(100, deliver); n != 0 {
		t.Errorf("%v allocations per frame delivered to 10 clients, want 0", n)
	}
}

// A picture is one part as a viewer got it.
type picture struct {
	at     time.Time // when its last byte came
	number int       // X-Frame
	jpeg   []byte
}

// A viewer reads the stream with the standard library's multipart reader.
type viewer struct {
	conn net.Conn

	mu       sync.Mutex
	pictures []picture
	err      error // what ended it
}

// startStream starts a stream that ends with the test, for use with a fake
// clock.
func startStream(t *testing.T) *stream {
	s := newStream(10, thisHost.sockets)
	go s.repeat(t.Context())
	t.Cleanup(func() { s.close(0) })
	return s
}

// newViewer lets a viewer watch s through a pipe, without an HTTP server, for use with a fake
// clock.
func newViewer(t *testing.T, s *stream, spacing time.Duration) *viewer {
	t.Helper()
	near, far := net.Pipe()
	enter(t, s)
	s.addClient(near, streamHead(false, nil), spacing)
	v := startViewer(t, far)
	synctest.Wait()
	return v
}

// enter counts a viewer in, as a request does.
func enter(t *testing.T, s *stream) {
	t.Helper()
	if !s.addViewer() {
		t.Fatal("no room for a viewer")
	}
}

// startViewer reads the stream from conn, which ends with the test.
func startViewer(t *testing.T, conn net.Conn) *viewer {
	v := &viewer{conn: conn}
	var reading sync.WaitGroup
	reading.Go(v.read)
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	return v
}

func (v *viewer) read() {
	parts, err := readStream(v.conn)
	for err == nil {
		var p picture
		if p, err = readPicture(parts); err == nil {
			v.mu.Lock()
			v.pictures = append(v.pictures, p)
			v.mu.Unlock()
		}
	}
	v.mu.Lock()
	v.err = err
	v.mu.Unlock()
}

func readPicture(parts *multipart.Reader) (picture, error) {
	part, err := parts.NextPart()
	if err != nil {
		return picture{}, err
	}
	jpeg, err := io.ReadAll(part)
	if err != nil {
		return picture{}, err
	}
	if length := part.Header.Get("Content-Length"); length != strconv.Itoa(len(jpeg)) {
		return picture{}, fmt.Errorf("Content-Length %s of a part with %d bytes", length, len(jpeg))
	}
	number, err := strconv.ParseUint(part.Header.Get("X-Frame"), 10, 32)
	return picture{time.Now(), int(number), jpeg}, err
}

func (v *viewer) received() []picture {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.pictures)
}

// newest returns the number of the picture that came last, 0 before any.
func (v *viewer) newest() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.pictures) == 0 {
		return 0
	}
	return v.pictures[len(v.pictures)-1].number
}

// ended returns what ended the stream, nil while it goes on.
func (v *viewer) ended() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

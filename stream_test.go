package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime/multipart"
	"net"
	"runtime"
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

// The first picture of someone who comes in a quiet moment is followed soon,
// so that browsers paint it.
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

// A client that comes before the camera has a picture, but not as the first one,
// waits for it: time would not pass here if it was busy.
func TestClientBeforeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		publishJPEG(s, testJPEG(frameSize+1024, 1))
		s.forget()
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

// A client that takes nothing is dropped after its patience is over, and holds
// one frame at most until then.
func TestStuckClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		conn, far := net.Pipe() // takes a byte only when one is read
		defer far.Close()
		enter(t, s)
		s.attend(conn, streamHead(false), 0)
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
		if len(s.free) > 4 {
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

// Parts begin and end where the kernel copies them fastest, and their headers fit
// into the room for them.
func TestPartsAreAligned(t *testing.T) {
	s := newStream(1)
	for _, number := range []uint32{1, 42, 999, 4096, math.MaxUint32} {
		for more := range 8 {
			f := s.blank()
			f.seal(append(f.room(), testJPEG(frameSize+1024+more, 1)...), time.Now(), number)
			start := uintptr(unsafe.Pointer(unsafe.SliceData(f.part)))
			if start%wordSize != 0 || len(f.part)%wordSize != 0 {
				t.Errorf("frame %d, %d bytes: begins at %#x and has %d bytes, want multiples of %d", number, len(f.jpeg), start, len(f.part), wordSize)
			}
			if added := len(f.jpeg) - (frameSize + 1024 + more); added < 0 || added >= wordSize {
				t.Errorf("%d bytes more than the picture has", added)
			}
			s.recycle(f)
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

// slowConn reads little at a time, and rarely.
type slowConn struct{ net.Conn }

func (c slowConn) Read(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return c.Conn.Read(b[:min(len(b), 3000)])
}

// Frames for clients that the board's link is too slow for leave it one after the
// other. Who has no such link is not kept waiting.
func TestSlowClientsTakeTurns(t *testing.T) {
	if isQueued == nil {
		t.Skip("not known on this system")
	}
	real := isQueued
	t.Cleanup(func() { isQueued = real })
	var (
		mu    sync.Mutex
		whose uintptr // turn it is
		begun time.Time
		looks int // how often was looked in it
		turns = make(map[uintptr]int)
		mixed int
	)
	isQueued = func(fd uintptr) bool {
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
	s, address := serveStream(t, 4)
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
	s, address := serveStream(t, 100)
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
		f := s.blank()
		frames[f] = true
		s.publish(f, append(f.room(), jpeg...), time.Now())
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
	s.pool.Lock()
	defer s.pool.Unlock()
	return len(s.clients) + len(s.free) + 1
}

// The end comes at the end of a frame, and waits for nobody long.
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
	if s.enter() {
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
	s := newStream(10)
	go s.repeat(t.Context())
	t.Cleanup(func() { s.close(0) })
	return s
}

// newViewer has a viewer watch s through a pipe, without HTTP server, for use
// with a fake clock.
func newViewer(t *testing.T, s *stream, spacing time.Duration) *viewer {
	t.Helper()
	near, far := net.Pipe()
	enter(t, s)
	s.attend(near, streamHead(false), spacing)
	v := startViewer(t, far)
	synctest.Wait()
	return v
}

// enter counts a viewer in, as a request does.
func enter(t *testing.T, s *stream) {
	t.Helper()
	if !s.enter() {
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
	number, err := strconv.Atoi(part.Header.Get("X-Frame"))
	return picture{time.Now(), number, jpeg}, err
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

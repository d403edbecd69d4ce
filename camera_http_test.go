package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"porthole/mjpeg"
	"porthole/mjpeg/mjpegtest"
)

// serveRaw answers each request with what serve writes, and returns the address. Connections end
// with serve, and with the test.
func serveRaw(t *testing.T, serve func(conn net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(t.Context(), func() { conn.Close() })
			go func() {
				defer stop()
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					serve(conn)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// openCamera opens the camera at a URL, which the test closes.
func openCamera(t *testing.T, url string, change ...func(*settings)) *httpCamera {
	t.Helper()
	want := settings{camera: url, width: 640, height: 480, quality: 80}
	for _, f := range change {
		f(&want)
	}
	cam, err := openHTTP("", want)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cam.Close() })
	return cam.(*httpCamera)
}

// wantPicture wants one of the pictures next.
func (c *httpCamera) wantPicture(t *testing.T, picture []byte) {
	t.Helper()
	before := time.Now()
	got, at, err := c.Capture(t.Context(), []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "before"+string(picture) {
		t.Fatalf("got %d bytes, want %d", len(got)-len("before"), len(picture))
	}
	if at.After(time.Now()) || at.Before(before.Add(-time.Second)) {
		t.Errorf("captured at %v, asked for at %v", at, before)
	}
}

// wantError wants Capture to fail so, behind the address.
func (c *httpCamera) wantError(t *testing.T, want string) {
	t.Helper()
	_, _, err := c.Capture(t.Context(), nil)
	if err == nil || err.Error() != c.label+": "+want {
		t.Errorf("got error  %v\nwant error %s: %s", err, c.label, want)
	}
}

// A writer is a program that writes a stream: what comes before the first picture, and around each.
type writer struct {
	name, head    string
	before, after string // %d is the length of the picture
	chunked       bool   // each of these, and the picture, is a chunk
}

// streamWriters are the programs in the field, as their sources write it, and some that are wrong.
var streamWriters = []writer{
	{"mjpg-streamer", "HTTP/1.0 200 OK\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nServer: MJPG-Streamer/0.2\r\n" +
		"Content-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n",
		"Content-Type: image/jpeg\r\nContent-Length: %d\r\nX-Timestamp: 12.345678\r\n\r\n", "\r\n--boundarydonotcross\r\n", false},
	{"uStreamer", "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n",
		"Content-Type: image/jpeg\r\nContent-Length: %d\r\nX-Timestamp: 12.345678\r\n\r\n", "\r\n--boundarydonotcross\r\n", false},
	{"uStreamer with advance_headers", "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n" +
		"--boundarydonotcross\r\nContent-Type: image/jpeg\r\nX-Timestamp: 12.345678\r\n\r\n",
		"", "\r\n--boundarydonotcross\r\nContent-Type: image/jpeg\r\nX-Timestamp: 12.345678\r\n\r\n", false},
	{"motion", "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/x-mixed-replace; boundary=BoundaryString\r\n\r\n",
		"--BoundaryString\r\nContent-type: image/jpeg\r\nContent-Length: %9d\r\n\r\n", "\r\n", true},
	{"ESP32 CameraWebServer", "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=123456789000000000000987654321\r\n" +
		"Transfer-Encoding: chunked\r\nAccess-Control-Allow-Origin: *\r\nX-Framerate: 60\r\n\r\n",
		"\r\n--123456789000000000000987654321\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\nX-Timestamp: 12.345678\r\n\r\n", "", true},
	{"IP Webcam", "HTTP/1.0 200 OK\r\nConnection: close\r\nServer: IP Webcam Server 0.4\r\nContent-Type: multipart/x-mixed-replace;boundary=Ba4oTvQMY8ew04N8dcnM\r\n\r\n",
		"\r\n--Ba4oTvQMY8ew04N8dcnM\r\nContent-Type: image/jpeg\r\n\r\n", "", false},
	{"without lengths", "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--myboundary\r\n\r\n",
		"--myboundary\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n", false},
	{"go2rtc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n",
		"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", "\r\n", true},
	{"boundary in quotes, text first", "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=\"--a b\"\r\n\r\nThis is a stream.\r\n",
		"----a b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", "\r\n", false},
	{"no boundary", "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=\r\n\r\n",
		"Content-Length: %d\r\n\r\n", "\r\n", false},
	{"another boundary than it says", "HTTP/1.1 200 OK\r\nContent-Type: Multipart/X-Mixed-Replace; boundary=one\r\n\r\n",
		"--two\r\nContent-Length: %d\r\n\r\n", "\r\n", false},
	{"LF", "HTTP/1.0 200 OK\nContent-Type: multipart/x-mixed-replace;boundary=x\n\n--x\n",
		"Content-Type: image/jpeg\nContent-Length: %d\n\n", "\n--x\n", false},
	{"wrong lengths", "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=x\r\n\r\n",
		"--x\r\nContent-Type: image/jpeg\r\nContent-Length: 1%d\r\n\r\n", "\r\n", false},
	{"JPEGs alone", "HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n", "", "", false},
	{"no type", "HTTP/1.0 200 OK\r\n\r\n", "", "", false},
}

// write writes a picture and what is around it.
func (w writer) write(conn net.Conn, picture []byte) error {
	var all []byte
	for _, part := range []string{w.before, string(picture), w.after} {
		if strings.Contains(part, "%") && part == w.before {
			part = fmt.Sprintf(part, len(picture))
		}
		switch {
		case part == "":
		case w.chunked:
			all = fmt.Appendf(all, "%x\r\n%s\r\n", len(part), part)
		default:
			all = append(all, part...)
		}
	}
	_, err := conn.Write(all)
	return err
}

// serve writes a stream with the pictures that come over a channel.
func (w writer) serve(t *testing.T, pictures <-chan []byte) (address string) {
	return serveRaw(t, func(conn net.Conn) {
		conn.Write([]byte(w.head))
		for {
			select {
			case picture := <-pictures:
				w.write(conn, picture)
			case <-t.Context().Done():
				return
			}
		}
	})
}

// Each picture comes as soon as its last byte was sent, from all programs.
func TestHTTPStream(t *testing.T) {
	thumbnail := mjpegtest.InsertAfterSOI(testJPEG(50_000, 'b'), mjpegtest.Segment(0xe1, mjpegtest.SmallJPEG(t)))
	for _, w := range streamWriters {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			pictures := make(chan []byte, 1)
			c := openCamera(t, w.serve(t, pictures)+"/stream")
			for _, picture := range [][]byte{testJPEG(40_000, 'a'), thumbnail, mjpegtest.SmallJPEG(t), testJPEG(40_001, 'c')} {
				pictures <- picture
				c.wantPicture(t, picture)
			}
		})
	}
}

// Pictures that waited are left out, but the newest.
func TestHTTPNewest(t *testing.T) {
	pictures := make(chan []byte)
	c := openCamera(t, streamWriters[0].serve(t, pictures))
	picture := func(seed byte) []byte {
		return mjpegtest.InsertAfterSOI(mjpegtest.SmallJPEG(t), mjpegtest.Segment(0xfe, []byte{seed}))
	}
	go func() { pictures <- picture(0) }()
	c.wantPicture(t, picture(0))
	for seed := range byte(20) {
		pictures <- picture(seed + 1)
	}
	pictures <- picture(21) // the others are in the socket then
	count := 0
	for last := []byte(nil); string(last) != string(picture(21)); count++ {
		var err error
		if last, _, err = c.Capture(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if count > 3 {
		t.Errorf("took %d pictures of 21 that waited", count)
	}
}

// A picture that is sent again soon is none.
func TestHTTPRepeat(t *testing.T) {
	pictures := make(chan []byte)
	c := openCamera(t, streamWriters[0].serve(t, pictures))
	a, b := testJPEG(40_000, 'a'), testJPEG(40_000, 'b')
	go func() {
		for _, picture := range [][]byte{a, a, a, b} {
			pictures <- picture
		}
	}()
	c.wantPicture(t, a)
	c.wantPicture(t, b)
	go func() { pictures <- b }()
	c.taken = c.taken.Add(-sameAgain)
	c.wantPicture(t, b)
}

// Pictures that are not due are left out, and do not count as a stall.
func TestHTTPLeavesOut(t *testing.T) {
	pictures := make(chan []byte)
	c := openCamera(t, streamWriters[0].serve(t, pictures))
	c.stall = limit
	var asked atomic.Int32
	c.setDue(func(time.Time) bool { return asked.Add(1) == 3 })
	go func() {
		for n := int32(0); n < 3; n++ {
			pictures <- testJPEG(40_000, byte(n))
			for t.Context().Err() == nil && asked.Load() <= n {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	c.wantPicture(t, testJPEG(40_000, 2))
}

// A damaged picture is left out, and the next one is good.
func TestHTTPDamaged(t *testing.T) {
	pictures := make(chan []byte, 3)
	c := openCamera(t, streamWriters[0].serve(t, pictures))
	a := mjpegtest.SmallJPEG(t)
	pictures <- append(slices.Clone(a[:len(a)/2]), a[len(a)/2+len(a)/8:]...)
	if _, _, err := c.Capture(t.Context(), nil); !errors.Is(err, mjpeg.ErrDamaged) {
		t.Errorf("got error %v, want a damaged picture", err)
	}
	pictures <- a
	c.wantPicture(t, a)
}

// Pictures keep the orientation that they say, and get another with -rotate. The size is theirs,
// and changes when theirs does.
func TestHTTPTurned(t *testing.T) {
	pictures := make(chan []byte, 1)
	r := mjpeg.Repairer{Orientation: 6}
	turned, err := r.Append(nil, picture1)
	if err != nil {
		t.Fatal(err)
	}
	c := openCamera(t, streamWriters[0].serve(t, pictures))
	pictures <- turned
	c.wantPicture(t, turned)

	pictures = make(chan []byte, 1)
	c = openCamera(t, streamWriters[0].serve(t, pictures), func(s *settings) { s.rotate = 90 })
	pictures <- picture1
	c.wantPicture(t, turned)
	if i := c.Info(); i.Width != 480 || i.Height != 640 || c.choices().Sizes[0] != "640x480" {
		t.Errorf("is %v, of sizes %v", i, c.choices().Sizes)
	}
	pictures <- mjpegtest.SmallJPEG(t)
	if _, _, err := c.Capture(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if i := c.Info(); i.Width == 480 {
		t.Errorf("is still %v", i)
	}
}

// The camera is asked for one picture after the other, at -fps, over one connection.
func TestHTTPPictures(t *testing.T) {
	var connections, requests atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		picture := testJPEG(40_000, byte(requests.Add(1)))
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
		w.Write(picture)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := openCamera(t, s.URL+"/capture", func(s *settings) { s.fps = 20 })
	start := time.Now()
	for i := range byte(5) {
		c.wantPicture(t, testJPEG(40_000, i+1))
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("5 pictures took %v", took)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("there were %d connections", n)
	}
	if i := c.Info(); i.FPS != 20 || i.String() != strings.TrimPrefix(s.URL, "http://")+": 640x480 JPEG at 20 fps" {
		t.Errorf("it is %v", i)
	}
}

// A picture is taken when it is there, even if its answer does not end. One that is cut off does
// not lose the camera.
func TestHTTPPictureEnds(t *testing.T) {
	a := mjpegtest.SmallJPEG(t)
	var requests atomic.Int32
	c := openCamera(t, serveRaw(t, func(conn net.Conn) {
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")
		if requests.Add(1) == 2 {
			conn.Write(a[:len(a)-100])
			return
		}
		conn.Write(a)
		<-t.Context().Done()
	}), func(s *settings) { s.fps = 100 })
	c.wantPicture(t, a)
	if _, _, err := c.Capture(t.Context(), nil); !errors.Is(err, mjpeg.ErrDamaged) {
		t.Errorf("got error %v, want a damaged picture", err)
	}
	c.wantPicture(t, a)
	if got := requests.Load(); got != 3 {
		t.Errorf("there were %d requests", got)
	}
}

// What another camera has of its own is not set here, and the log or an error says so.
func TestHTTPSettings(t *testing.T) {
	c := openCamera(t, "http://anna:secret@cam.lan/stream", func(s *settings) { s.width = 1280 })
	var logged []string
	c.setLog(func(line string) { logged = append(logged, line) })
	if want := "[cam.lan: its pictures are taken as they come: -size and -quality change nothing]"; fmt.Sprint(logged) != want {
		t.Errorf("logged %v, want %s", logged, want)
	}
	want := settings{camera: "http://anna:secret@cam.lan/stream", set: []controlSetting{{name: "brightness", value: "1"}}}
	if _, err := openHTTP("", want); err == nil || err.Error() != "-set brightness=1: cam.lan has controls of its own, which cannot be set here" {
		t.Errorf("got error %v", err)
	}
	if err := c.choices().check(want.set); err == nil || err.Error() != "brightness=1: cam.lan has controls of its own, which cannot be set here" {
		t.Errorf("got error %v", err)
	}
	t.Setenv("CAMERA", want.camera)
	if o, usage, err := parseArgs(nil, thisHost.drivers); o.camera != want.camera || err != nil || strings.Contains(usage, "secret") {
		t.Errorf("the camera is %s, error %v, usage %s", o.camera, err, usage)
	}
}

package main

import (
	"io"
	"log"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// 50 stills over real sockets, from a real program, beside a reader of the table leave no open
// file, no goroutine and no process behind.
func TestStillsLeaveNothing(t *testing.T) {
	program := standIn(t, "standin", `echo >>started; while cat $1; do sleep 0.05; done`)
	d := driver{name: "program", devices: func() []string { return nil }}
	d.open = func(_ string, want settings) (camera, error) {
		picture := "a.jpg"
		if want.width > 640 {
			picture = "b.jpg"
		}
		return &pipeCamera{
			pictures: &jpegPictures{},
			argv:     []string{program, picture},
			stall:    10 * time.Second,
			info:     cameraInfo{Name: "program", Width: want.width, Height: want.height},
		}, nil
	}
	s := newStream(10, thisHost.sockets)
	k := newSupervisor(s, []driver{d}, settings{camera: "program", width: 640, height: 480}, 10*time.Second, log.New(io.Discard, "", 0))
	go k.run(t.Context())
	l, err := openListener(t.Context(), thisHost.listen, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := newWebServer(t.Context(), newHandler(s, k), thisHost.sockets, log.New(io.Discard, "", 0))
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })

	url := "http://" + l.Addr().String()
	go io.Copy(io.Discard, ask(t, "GET", url+"/frames.csv").Body)
	large := (&pipeCamera{argv: []string{program}}).file(t, "b.jpg")
	still := func() {
		response := ask(t, "GET", url+"/snapshot?size=max")
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || string(got) != string(sent([]byte(large))) {
			t.Fatalf("got %d and %d bytes %.100q, error %v; want %d bytes", response.StatusCode, len(got), got, err, len(large))
		}
		frames := s.state().Frames
		eventually(t, "the stream is back", func() bool { return s.state().Frames > frames })
	}
	still()
	files, goroutines := countFiles(t), runtime.NumGoroutine()
	for range 50 {
		still()
	}
	eventually(t, "no more files and goroutines than before", func() bool {
		return countFiles(t) <= files && runtime.NumGoroutine() <= goroutines
	})
	if got := strings.Count((&pipeCamera{argv: []string{program}}).file(t, "started"), "\n"); got != 2*51+1 {
		t.Errorf("the program was started %d times for 51 stills, want %d", got, 2*51+1)
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sizedCamera is a fakeCamera that has other sizes, too: 1 s from opening to the first picture.
type sizedCamera struct {
	*fakeCamera
	large error // of opening it with a larger size than 640x480
}

func (c *sizedCamera) open(device string, want settings) (camera, error) {
	c.mu.Lock()
	large := c.large
	c.mu.Unlock()
	if large != nil && want.width > 640 {
		return nil, large
	}
	if _, err := c.fakeCamera.open(device, want); err != nil {
		return nil, err
	}
	return c, nil
}

// change changes the camera while it runs.
func (c *sizedCamera) change(large error, startup time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.large, c.startup = large, startup
}

func (c *sizedCamera) choices() choices {
	return choices{Sizes: []string{"320x240", "1280x960", "640x480"}}
}

func (c *sizedCamera) setControls([]controlSetting) error { return nil }

// Capture returns a picture of another kind if it is large.
func (c *sizedCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	dst, at, err := c.fakeCamera.Capture(ctx, dst)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.want.width > 640 {
		dst = dst[:len(dst)-len(c.picture())]
		if c.count <= c.dark {
			return append(dst, testJPEG(50_000, 'd')...), at, nil
		}
		dst = append(dst, largePicture...)
	}
	return dst, at, err
}

var largePicture = testJPEG(50_000, 'l')

// startSized runs a supervisor of a sizedCamera until the test ends.
func startSized(t *testing.T) (k *supervisor, c *sizedCamera, logged *bytes.Buffer) {
	c = &sizedCamera{fakeCamera: &fakeCamera{begin: time.Now(), device: "/dev/video0", startup: time.Second, dark: 5}}
	d := c.driver()
	d.open = c.open
	k, logged = startSupervising(t, settings{camera: "auto", width: 640, height: 480, fps: 15, quality: 80}, 10*time.Second, d)
	return k, c, logged
}

// wantStill checks that an answer is the large picture, or an error that begins with a text.
func wantStill(t *testing.T, w *httptest.ResponseRecorder, code int, text string) {
	t.Helper()
	switch {
	case w.Code != code:
	case code == 200 && bytes.Equal(w.Body.Bytes(), sent(largePicture)):
		return
	case code != 200 && strings.HasPrefix(w.Body.String(), text):
		return
	}
	t.Errorf("got %d and %d bytes %.100q, want %d and %s", w.Code, w.Body.Len(), w.Body, code, text)
}

// A still comes from a camera with another size, and its exposure settled. Viewers of the stream
// see a pause and nothing else, and the log and the state nothing.
func TestStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSized(t)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		before, lines := len(v.received()), logged.String()
		asked := time.Now()
		w, took := getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 200, "")
		if took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		at, now := w.Header().Get("X-Timestamp"), time.Now()
		if first, last := string(appendSeconds(nil, asked)), string(appendSeconds(nil, now)); at < first || at > last {
			t.Errorf("captured at %s, asked for from %s to %s", at, first, last)
		}
		if mode := k.currentStatus().Mode; mode != modeLive {
			t.Errorf("mode %s meanwhile", mode)
		}
		time.Sleep(5 * time.Second)
		if got := shown(v); got != "dark, live" {
			t.Errorf("the viewer saw %s", got)
		}
		if st := k.currentStatus(); st.Width != 640 || st.Mode != modeLive || len(v.received()) < before+30 {
			t.Errorf("afterwards the stream is %s, with %d pixels and %d pictures more", st.Mode, st.Width, len(v.received())-before)
		}
		if logged.String() != lines {
			t.Errorf("logged:\n%s", logged)
		}
		if opened, closed := c.history(); len(opened) != 4 || len(closed) != 3 {
			t.Errorf("opened at %v and closed at %v, want a look, the stream, the still, the stream", opened, closed)
		}
	})
}

// Without other viewers the camera is opened once for a still, and released after it.
func TestStillFromIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSized(t)
		for i := range 3 {
			w, took := getSnapshot(k, "/?action=snapshot&size=1280x960&1700")
			wantStill(t, w, 200, "")
			if took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			synctest.Wait()
			opened, closed := c.history()
			if len(opened) != i+2 || len(closed) != i+2 {
				t.Errorf("opened at %v and closed at %v, want once for each and for a look", opened, closed)
			}
			if st := k.currentStatus(); st.Mode != modeIdle || st.Reason != "" {
				t.Errorf("mode %s, reason %q", st.Mode, st.Reason)
			}
		}
		w, _ := getSnapshot(k, "/snapshot")
		if !bytes.Equal(w.Body.Bytes(), sent(testJPEG(frameSize+1024, 'c'))) {
			t.Error("another snapshot after it is not one of the stream")
		}
	})
}

// 200 stills in a row leave nothing behind. The viewer of the stream gets no new pictures while
// the camera is opened for a still and again for the stream, which takes it 1 s each time.
func TestManyStills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSized(t)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		goroutines := runtime.NumGoroutine()
		for taken := 0; taken < 200; {
			w, took := getSnapshot(k, "/snapshot?size=max")
			if w.Code == 503 {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			wantStill(t, w, 200, "")
			if taken++; took > 2*time.Second {
				t.Fatalf("still %d took %v", taken, took)
			}
		}
		time.Sleep(5 * time.Second)
		if got := runtime.NumGoroutine(); got > goroutines {
			t.Errorf("%d goroutines, and %d before", got, goroutines)
		}
		if opened, closed := c.history(); len(opened) != len(closed)+1 {
			t.Errorf("opened %d times and closed %d times", len(opened), len(closed))
		}
		wantSmallFrames(t, k.stream)
		if st := k.stream.state(); st.Viewers != 1 || k.still != nil {
			t.Errorf("%d viewers, still %v", st.Viewers, k.still)
		}
		longest, longestNew := v.gaps()
		t.Logf("the viewer's longest time without a picture was %v, without a new one %v", longest, longestNew)
		if longest > repeatLater || longestNew > 4*time.Second {
			t.Errorf("the viewer was without a picture for %v, without a new one for %v", longest, longestNew)
		}
	})
}

// wantSmallFrames wants no frame of the stream to have a buffer of a still's size.
func wantSmallFrames(t *testing.T, s *stream) {
	t.Helper()
	for range 4 { // the one that is being filled is the newest soon
		f := s.newest()
		if cap(f.buf) > len(largePicture) {
			t.Errorf("a buffer of %d bytes is kept for the stream", cap(f.buf))
		}
		f.release()
		time.Sleep(interval(15))
	}
}

// gaps returns the longest times between two pictures that the viewer got, and between two that
// were new to it.
func (v *viewer) gaps() (longest, longestNew time.Duration) {
	pictures := v.received()
	last, lastNew := pictures[0], pictures[0]
	for _, p := range pictures {
		longest, last = max(longest, p.at.Sub(last.at)), p
		if p.number != lastNew.number {
			longestNew, lastNew = max(longestNew, p.at.Sub(lastNew.at)), p
		}
	}
	return longest, longestNew
}

// Sizes that the camera does not have are refused, and the stream's own size is no reason to
// open the camera again.
func TestStillSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSized(t)
		newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		for _, size := range []string{"1920x1080", "16384x16384"} {
			w, _ := getSnapshot(k, "/snapshot?size="+size)
			wantStill(t, w, 400, "size="+size+": must be one of 320x240, 1280x960, 640x480\n")
		}
		for _, size := range []string{"huge", "0x0", "1280", "-1x-1", "max1"} {
			w, _ := getSnapshot(k, "/snapshot?size="+size)
			wantStill(t, w, 400, "size="+size+": must be a width and a height in pixels, like 640x480\n")
		}
		w, _ := getSnapshot(k, "/snapshot?size=max&max_age=old")
		wantStill(t, w, 400, "max_age=old: must be")
		w, took := getSnapshot(k, "/snapshot?size=640x480")
		if w.Code != 200 || took > 100*time.Millisecond {
			t.Errorf("the size of the stream: got %d after %v", w.Code, took)
		}
		head := httptest.NewRecorder()
		newHandler(k.stream, k).ServeHTTP(head, httptest.NewRequest("HEAD", "/snapshot?size=max", nil))
		if head.Code != 200 || head.Header().Get("Content-Type") != "image/jpeg" {
			t.Errorf("HEAD: got %d %v", head.Code, head.Header())
		}
		k.stream.maxViewers = 1
		w, _ = getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 503, "too many viewers: 1 are watching already")
		if opened, _ := c.history(); len(opened) != 2 {
			t.Errorf("opened at %v", opened)
		}
	})
	for _, test := range []struct {
		choices choices
		want    settings
		largest string
	}{
		{choices{Sizes: []string{"640x480", "1280x720", "800x600"}}, settings{width: 640, height: 480}, "1280x720"},
		{choices{}, settings{width: 640, height: 480}, "1920x1080"},
		{choices{}, settings{width: 2592, height: 1944}, "2592x1944"},
	} {
		width, height := test.choices.largest(test.want)
		if got := fmt.Sprintf("%dx%d", width, height); got != test.largest {
			t.Errorf("the largest of %v is %s, want %s", test.choices.Sizes, got, test.largest)
		}
	}
}

// Requests for the same size share a still that was captured after each of them came. Others
// are told to come again.
func TestStillsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSized(t)
		newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		answers := make(chan *httptest.ResponseRecorder)
		for range 3 {
			go func() {
				w, _ := getSnapshot(k, "/snapshot?size=max")
				answers <- w
			}()
			time.Sleep(200 * time.Millisecond)
		}
		w, _ := getSnapshot(k, "/snapshot?size=320x240")
		wantStill(t, w, 503, "another picture of another size")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		at := map[string]bool{}
		for range 3 {
			w := <-answers
			wantStill(t, w, 200, "")
			at[w.Header().Get("X-Timestamp")] = true
		}
		if opened, _ := c.history(); len(opened) != 3 || len(at) != 1 {
			t.Errorf("opened at %v, with %d pictures", opened, len(at))
		}
		w, _ = getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 503, "somebody watches the stream, which stops for a picture of another size: try again in 4.")
		time.Sleep(5 * time.Second)
		w, _ = getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 200, "")
	})
}

// A picture from before a request came is no answer to it.
func TestStillIsNew(t *testing.T) {
	s := newStream(1, thisHost.sockets)
	k := &supervisor{stream: s}
	asked := time.Now()
	st, err := k.requestStill(1280, 960, asked)
	if err != nil {
		t.Fatal(err)
	}
	f := s.getFrame()
	f.layOut(append(f.jpegBuffer(), largePicture...), asked, 0)
	if k.finishStill(st, f, nil) {
		t.Error("it was captured when the request came")
	}
	f.at = asked.Add(time.Microsecond)
	if !k.finishStill(st, f, nil) || st.frame != f || s.isWatched() {
		t.Errorf("got %v, and the request is still a viewer: %v", st.frame, s.isWatched())
	}
	k.releaseStill(st)
}

// A camera that does not work at the large size tells why, and the stream goes on.
func TestStillFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSized(t)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		c.change(errors.New("/dev/video0: not enough USB bandwidth"), time.Second)
		w, _ := getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 503, "/dev/video0: not enough USB bandwidth\n")
		time.Sleep(5 * time.Second)
		if st := k.currentStatus(); st.Mode != modeLive || st.Reason != "" || strings.Contains(shown(v), "lost") {
			t.Errorf("mode %s, reason %q, the viewer saw %s", st.Mode, st.Reason, shown(v))
		}
		c.change(nil, time.Hour)
		w, took := getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 503, "no picture from the camera within 10s\n")
		if took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
		c.change(nil, time.Second)
		time.Sleep(5 * time.Second)
		if st := k.currentStatus(); st.Mode != modeLive || strings.Contains(shown(v), "lost") || strings.Contains(logged.String(), "bandwidth") {
			t.Errorf("mode %s, the viewer saw %s, logged:\n%s", st.Mode, shown(v), logged)
		}
		c.set("", nil, errors.New("the camera is gone"))
		time.Sleep(10 * time.Second)
		w, _ = getSnapshot(k, "/snapshot?size=max")
		wantStill(t, w, 503, "no camera found\n")
		if st := k.stream.state(); st.Viewers != 1 || k.still != nil {
			t.Errorf("%d viewers, still %v", st.Viewers, k.still)
		}
	})
}

// A request that goes away gives the stream its camera back.
func TestStillGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSized(t)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		go newHandler(k.stream, k).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/snapshot?size=max", nil))
		time.Sleep(1200 * time.Millisecond) // two dark pictures came
		cancel()
		time.Sleep(50 * time.Millisecond)
		if opened, closed := c.history(); len(opened) != 4 || len(closed) != 3 {
			t.Errorf("opened at %v and closed at %v, want it back at once", opened, closed)
		}
		if st := k.stream.state(); st.Viewers != 1 || k.still != nil {
			t.Errorf("%d viewers, still %v", st.Viewers, k.still)
		}
		time.Sleep(5 * time.Second)
		wantSmallFrames(t, k.stream)
		if got := shown(v); got != "dark, live" {
			t.Errorf("the viewer saw %s", got)
		}
	})
}

// Settings that change while a still is taken are those of the stream after it.
func TestStillAndSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, _ := startSized(t)
		newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		answer := make(chan *httptest.ResponseRecorder)
		go func() {
			w, _ := getSnapshot(k, "/snapshot?size=max")
			answer <- w
		}()
		time.Sleep(500 * time.Millisecond)
		if got := sender(k)("size=320x240"); !strings.HasPrefix(got, "200") {
			t.Errorf("got %s", got)
		}
		wantStill(t, <-answer, 200, "")
		time.Sleep(5 * time.Second)
		if st := k.currentStatus(); st.Mode != modeLive || st.Width != 320 {
			t.Errorf("the stream is %s with %d pixels, want 320", st.Mode, st.Width)
		}
	})
}

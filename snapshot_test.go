package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestSnapshotIsNew(t *testing.T) {
	s, address := serveStream(t, 1)
	before := time.Now()
	publishAt(s, picture1, true, before)
	answer := make(chan *http.Response)
	go func() { answer <- ask(t, "GET", "http://"+address+"/snapshot") }()
	eventually(t, "somebody waits", func() bool { return s.state().Viewers == 1 })
	after := time.Now()
	publishAt(s, picture2, true, before) // captured before the request, and late
	publishAt(s, lostPicture, false, after)
	publishAt(s, picture3, true, after)
	response := await(t, "the snapshot", answer)
	if got := text(t, response); got != string(sent(picture3)) {
		t.Errorf("got %d bytes, want the picture that was captured after the request", len(got))
	}
	for key, want := range map[string]string{
		"Content-Type":   "image/jpeg",
		"Content-Length": strconv.Itoa(len(sent(picture3))),
		"Cache-Control":  "no-store",
		"X-Timestamp":    string(appendSeconds(nil, after)),
		"X-Frame":        "4",
	} {
		if got := response.Header.Get(key); got != want {
			t.Errorf("got %s: %s, want %s", key, got, want)
		}
	}
	eventually(t, "the viewer is gone", func() bool { return s.state().Viewers == 0 })
}

// TestSnapshotPatience has a clock of its own: no time passes while anything
// happens, and nobody waits in earnest.
func TestSnapshotPatience(t *testing.T) {
	const none = "no picture from the camera within 5s\n"
	tests := []struct {
		name, path string
		reason     string        // the supervisor's, that the camera is lost
		age        time.Duration // of the newest picture
		good       bool          // that it is no "camera lost"
		code       int
		body       string
		took       time.Duration
	}{
		{"nothing comes", "/snapshot", "", time.Second, true, 503, none, 5 * time.Second},
		{"camera lost", "/snapshot", "no camera", time.Second, true, 503, "no camera\n", 5 * time.Second},
		{"too old", "/snapshot?max_age=2s", "", 3 * time.Second, true, 503, none, 5 * time.Second},
		{"not good", "/snapshot?max_age=1h", "", time.Second, false, 503, none, 5 * time.Second},
		{"young enough", "/snapshot?max_age=2s", "", time.Second, true, 200, string(sent(picture1)), 0},
		{"young enough, in milliseconds", "/snapshot?max_age=2000", "", time.Second, true, 200, string(sent(picture1)), 0},
		{"young enough, camera lost", "/snapshot?max_age=1h", "no camera", time.Minute, true, 200, string(sent(picture1)), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream(1, thisHost.sockets)
				k := &supervisor{stream: s}
				k.updateStatus(func(st *cameraStatus) { st.Reason = tt.reason })
				publishAt(s, picture1, tt.good, time.Now())
				time.Sleep(tt.age)
				start := time.Now()
				w := httptest.NewRecorder()
				newHandler(s, k).ServeHTTP(w, httptest.NewRequest("GET", tt.path, nil))
				took := time.Since(start)
				if w.Code != tt.code || w.Body.String() != tt.body || took != tt.took {
					t.Errorf("got %d and %d bytes %.40q after %v, want %d and %d bytes %.40q after %v",
						w.Code, w.Body.Len(), w.Body, took, tt.code, len(tt.body), tt.body, tt.took)
				}
				if got := w.Header().Get("Retry-After"); (got != "") != (tt.code == 503) {
					t.Errorf("got Retry-After: %s with status %d", got, w.Code)
				}
				if got := s.state().Viewers; got != 0 {
					t.Errorf("got %d viewers left, want none", got)
				}
			})
		})
	}
}

// A snapshot of a slow camera may take as long as two of its pictures, whether it
// said that it is slow, or just is.
func TestSnapshotOfSlowCamera(t *testing.T) {
	tests := []struct {
		name     string
		granted  float64       // frames per second
		measured time.Duration // between two frames
		comes    time.Duration // the next one, after the request
		code     int
		took     time.Duration
	}{
		{"0.1 fps", 0.1, 0, 15 * time.Second, 200, 15 * time.Second},
		{"0.1 fps, stuck", 0.1, 0, time.Hour, 503, 20 * time.Second},
		{"exposures of 4 s", 30, 4 * time.Second, 7 * time.Second, 200, 7 * time.Second},
		{"exposures of 4 s, stuck", 30, 4 * time.Second, time.Hour, 503, 8 * time.Second},
		{"fast, stuck", 30, 33 * time.Millisecond, time.Hour, 503, 5 * time.Second},
		{"hardly ever", 1e-300, 0, 50 * time.Minute, 200, 50 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream(1, thisHost.sockets)
				k := &supervisor{stream: s}
				k.updateStatus(func(st *cameraStatus) { st.FPS = tt.granted })
				if tt.measured > 0 {
					publishAt(s, picture1, true, time.Now().Add(-tt.measured))
					publishAt(s, picture1, true, time.Now())
					s.dropLatest()
				}
				timer := time.AfterFunc(tt.comes, func() { publishJPEG(s, picture2) })
				defer timer.Stop()
				start := time.Now()
				w := httptest.NewRecorder()
				newHandler(s, k).ServeHTTP(w, httptest.NewRequest("GET", "/snapshot", nil))
				if took := time.Since(start); w.Code != tt.code || took != tt.took {
					t.Errorf("got %d %.60q after %v, want %d after %v", w.Code, w.Body, took, tt.code, tt.took)
				}
			})
		})
	}
}

// TestGiveUp has a client hang up that waits for a snapshot.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream(1, thisHost.sockets)
		ctx, cancel := context.WithCancel(t.Context())
		request := httptest.NewRequestWithContext(ctx, "GET", "/snapshot", nil)
		go newHandler(s, &supervisor{stream: s}).ServeHTTP(httptest.NewRecorder(), request)
		synctest.Wait()
		if got := s.state().Viewers; got != 1 {
			t.Errorf("got %d viewers while one waits, want 1", got)
		}
		cancel()
		synctest.Wait() // no time passes in here
		if got := s.state().Viewers; got != 0 {
			t.Errorf("got %d viewers after it gave up, want none", got)
		}
	})

	s, address := serveStream(t, 1)
	conn := dial(t, address, "GET /snapshot HTTP/1.1\r\nHost: test\r\n\r\n")
	eventually(t, "it waits", func() bool { return s.state().Viewers == 1 })
	conn.Close()
	eventually(t, "it is gone", func() bool { return s.state().Viewers == 0 })
}

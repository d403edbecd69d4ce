package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// startPaced runs a supervisor of a camera that takes 1 s to start and ten pictures to settle, at
// a rate, until the test ends.
func startPaced(t *testing.T, fps float64) (k *supervisor, c *fakeCamera) {
	c = &fakeCamera{begin: time.Now(), device: "/dev/video0", startup: time.Second, dark: settleFrames}
	d := c.driver()
	d.settle = 500 * time.Millisecond
	k, _ = startSupervising(t, settings{camera: "auto", width: 640, height: 480, fps: fps, quality: 80}, 10*time.Second, d)
	return k, c
}

// getSnapshot asks for a snapshot. It returns the answer and how long that took.
func getSnapshot(k *supervisor, path string) (*httptest.ResponseRecorder, time.Duration) {
	start := time.Now()
	w := httptest.NewRecorder()
	newHandler(k.stream, k).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w, time.Since(start)
}

// Snapshots come within the 2 s that moonraker-timelapse waits, with the exposure settled, at
// whatever rate. After the second within 150 s the camera stays open until the next.
func TestSnapshotInTime(t *testing.T) {
	bright := sent(testJPEG(frameSize+1024, 'c'))
	for _, test := range []struct {
		pause    time.Duration // from one snapshot to the next
		fps      float64
		openings int
	}{
		{5 * time.Second, 1, 1},
		{30 * time.Second, 0.1, 2},
		{30 * time.Second, 1, 2},
		{30 * time.Second, 30, 2},
		{2 * time.Minute, 1, 2},
		{5 * time.Minute, 0.1, 60},
		{5 * time.Minute, 9, 60},
		{5 * time.Minute, 30, 60},
	} {
		t.Run(fmt.Sprintf("each %v at %v fps", test.pause, test.fps), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, c := startPaced(t, test.fps)
				longest := time.Duration(0)
				for i := range 60 {
					w, took := getSnapshot(k, "/snapshot")
					longest = max(longest, took)
					if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), bright) {
						t.Fatalf("snapshot %d: got %d and %d bytes, want 200 and a picture that is not dark", i+1, w.Code, w.Body.Len())
					}
					time.Sleep(test.pause - took)
				}
				if longest > 2*time.Second {
					t.Errorf("a snapshot took %v", longest)
				}
				time.Sleep(150 * time.Second)
				opened, closed := c.history()
				if len(opened)-1 != test.openings || len(closed) != len(opened) {
					t.Errorf("opened %d times and closed %d times, want %d", len(opened)-1, len(closed)-1, test.openings)
				}
				t.Logf("the longest of 60 snapshots took %v", longest)
			})
		})
	}
}

// Viewers get pictures at the rate that was asked for, whatever the camera runs at.
func TestPacedStream(t *testing.T) {
	for _, test := range []struct {
		fps  float64
		want int // settled pictures in a minute
	}{{0.1, 6}, {1, 60}, {4, 240}, {7.5, 450}, {9, 540}, {15, 900}} {
		t.Run(fmt.Sprint(test.fps), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, _ := startPaced(t, test.fps)
				newViewer(t, k.stream, 0)
				time.Sleep(5 * time.Second)
				before := k.stream.state().Frames
				time.Sleep(time.Minute)
				if got := int(k.stream.state().Frames - before); got < test.want-1 || got > test.want+1 {
					t.Errorf("%d pictures in a minute, want %d", got, test.want)
				}
			})
		})
	}
}

// A change takes effect at once and not only when the next picture is due.
func TestPacedChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c := startPaced(t, 0.1)
		newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		before := time.Since(c.begin)
		send := sender(k)
		send("fps=1")
		time.Sleep(5 * time.Second)
		opened, _ := c.history()
		if last := opened[len(opened)-1] - before; last < 0 || last > time.Second {
			t.Errorf("opened at %v with the new rate, want less than a second after %v", opened, before)
		}
	})
}

// The pictures nearest to the wanted times are due, whatever the camera's jitter. After a pause
// they do not make up for what they missed.
func TestPace(t *testing.T) {
	start := time.Now()
	p := pace{spacing: time.Second, opened: start}
	var due []int
	for _, millis := range []int{0, 400, 990, 1020, 1990, 2600, 3040, 3990, 9000, 9500, 9990} {
		at := start.Add(time.Duration(millis) * time.Millisecond)
		if p.isDue(at) {
			due = append(due, millis)
			p.note(at)
		}
	}
	if got, want := fmt.Sprint(due), "[0 990 1990 3040 3990 9000 9990]"; got != want {
		t.Errorf("due at %s ms, want %s", got, want)
	}
}

// The exposure has settled after ten pictures or, of a slow camera, twice the time.
func TestSettled(t *testing.T) {
	for _, test := range []struct {
		name     string
		settle   time.Duration // the driver's
		startup  time.Duration
		interval time.Duration
		want     int // pictures before the first that is settled
	}{
		{"30 fps", 500 * time.Millisecond, 100 * time.Millisecond, 33 * time.Millisecond, 13},
		{"30 fps, starts slowly", 500 * time.Millisecond, 5 * time.Second, 33 * time.Millisecond, 10},
		{"15 fps", 500 * time.Millisecond, time.Second, 66 * time.Millisecond, 10},
		{"5 fps", 500 * time.Millisecond, time.Second, 200 * time.Millisecond, 5},
		{"1 fps", 500 * time.Millisecond, time.Second, time.Second, 1},
		{"a driver that settles", 0, time.Second, time.Second, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened := time.Now()
			p := pace{settle: test.settle, opened: opened}
			at := opened.Add(test.startup)
			n := 0
			for ; !p.note(at); n++ {
				at = at.Add(test.interval)
			}
			if n != test.want {
				t.Errorf("settled after %d pictures, want %d", n, test.want)
			}
		})
	}
}

// Snapshots at changing intervals keep the camera open for longer than most of these.
func TestSnapshotGap(t *testing.T) {
	k := &supervisor{idle: 10 * time.Second}
	now := time.Now()
	for _, test := range []struct{ gap, want time.Duration }{
		{0, 10 * time.Second},
		{time.Minute, 75 * time.Second},
		{20 * time.Second, 70312500 * time.Microsecond},
		{50 * time.Second, 65917968 * time.Microsecond},
		{2 * time.Minute, 150 * time.Second},
		{125 * time.Second, 156250 * time.Millisecond},
		{151 * time.Second, 10 * time.Second},
		{time.Second, 10 * time.Second},
		{12 * time.Second, 15 * time.Second},
	} {
		now = now.Add(test.gap)
		k.noteSnapshot(now)
		if got := k.idleLimit().Truncate(time.Microsecond); got != test.want {
			t.Errorf("%v after the last one: the camera stays open for %v, want %v", test.gap, got, test.want)
		}
	}
}

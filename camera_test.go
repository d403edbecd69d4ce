package main

import (
	"errors"
	"fmt"
	"porthole/mjpeg"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// At the start the camera is opened for a look. After that it is open only while somebody
// watches, and for the idle time after.
func TestCameraOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		time.Sleep(time.Minute)
		if opened, closed := c.history(); len(opened) != 1 || len(closed) != 1 {
			t.Fatalf("opened at %v, closed at %v without a viewer, want one look", opened, closed)
		}
		if mode := k.currentStatus().Mode; mode != modeIdle {
			t.Errorf("mode %q, want %q", mode, modeIdle)
		}

		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		v.conn.Close()
		time.Sleep(5 * time.Second) // less than the idle time: still open
		v = newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		v.conn.Close() // at 75 s
		time.Sleep(time.Minute)
		opened, closed := c.history()
		if got, want := fmt.Sprint(opened[1:]), "[1m0s]"; got != want {
			t.Errorf("opened at %v, want at %v", got, want)
		}
		if len(closed) != 2 || closed[1] < 85*time.Second || closed[1] > 87*time.Second {
			t.Errorf("closed at %v, want about 10 s after the last viewer went at 75 s", closed[1:])
		}
		if k.stream.latest.Load() != nil {
			t.Error("the last picture is kept for the next viewer, who may come any time")
		}
		if got, want := logged.String(), "camera: /dev/video0 (fake, fake): 640x480 MJPG at 10 fps\n"; got != want {
			t.Errorf("logged %q, want %q", got, want)
		}
	})
}

func TestCameraNeverReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := startSupervisor(t, "/dev/video0", "auto", 0)
		time.Sleep(time.Minute)
		if opened, closed := c.history(); len(opened) != 1 || len(closed) != 0 {
			t.Errorf("opened at %v, closed at %v with -idle 0 and no viewer", opened, closed)
		}
	})
}

// Viewers stay while the camera is lost, see that it is, and see it again as
// soon as its device is back.
func TestCameraLostAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)

		c.set("", nil, errors.New("/dev/video0: the camera is gone: was it unplugged?"))
		time.Sleep(time.Minute)
		if st := k.currentStatus(); st.Mode != modeLost || st.Reason != "no camera found" {
			t.Errorf("mode %q, reason %q", st.Mode, st.Reason)
		}
		if opened, _ := c.history(); len(opened) > 65 {
			t.Errorf("opened %d times in a minute without a device", len(opened))
		}

		c.set("/dev/video1", nil, nil)
		time.Sleep(devicePollInterval + 200*time.Millisecond)
		if st := k.currentStatus(); st.Mode != modeLive || st.Device != "/dev/video1" || st.Reason != "" {
			t.Errorf("mode %q, device %q, reason %q after the camera came back", st.Mode, st.Device, st.Reason)
		}
		if got, want := shown(v), "live, camera lost, live"; got != want {
			t.Errorf("the viewer saw %s, want %s", got, want)
		}
		if err := v.ended(); err != nil {
			t.Errorf("the viewer was disconnected: %v", err)
		}
		want := `camera: /dev/video0 (fake, fake): 640x480 MJPG at 10 fps
/dev/video0: the camera is gone: was it unplugged?
no camera found
camera: /dev/video1 (fake, fake): 640x480 MJPG at 10 fps
`
		if logged.String() != want {
			t.Errorf("logged\n%swant\n%s", logged, want)
		}
	})
}

// A camera that can't be opened is tried once a second, and the reason is logged
// once. It is no reason to show the emulated camera.
func TestCameraBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		c.set("/dev/video0", errors.New("/dev/video0: in use by another program"), nil)
		v := newViewer(t, k.stream, 0)
		time.Sleep(4500 * time.Millisecond)
		opened, _ := c.history()
		if got, want := fmt.Sprint(opened[1:]), "[0s 1s 2s 3s 4s]"; got != want {
			t.Errorf("tried at %v, want at %v", got, want)
		}
		c.set("/dev/video0", nil, nil)
		time.Sleep(time.Second)
		if got, want := shown(v), "camera lost, live"; got != want {
			t.Errorf("the viewer saw %s, want %s", got, want)
		}
		if n := strings.Count(logged.String(), "in use"); n != 1 {
			t.Errorf("logged %d times that it is in use, want once:\n%s", n, logged)
		}
	})
}

// Lines from a camera are logged, but not again each time it is opened, and not without
// end.
func TestCameraTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		newViewer(t, k.stream, 0)
		synctest.Wait()
		for range 3 {
			c.log("fake: WARN old firmware")
			c.log("fake: INFO configuring streams")
		}
		if got, want := logged.String(), "fake: WARN old firmware\nfake: INFO configuring streams\n"; !strings.HasSuffix(got, want) || strings.Count(got, "WARN") != 1 {
			t.Errorf("logged:\n%s\nwant it to end in\n%s", got, want)
		}
		for i := range 10 * maxSeenLines {
			c.log(fmt.Sprint("fake: frame ", i))
		}
		if n := strings.Count(logged.String(), "fake: "); n != maxSeenLines {
			t.Errorf("logged %d lines of what it said, want %d", n, maxSeenLines)
		}
	})
}

// Nobody tries to open a camera that nobody wants to watch.
func TestCameraLostUnwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		c.set("/dev/video0", errors.New("broken"), nil)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		v.conn.Close()
		time.Sleep(10 * time.Second)
		before, _ := c.history()
		time.Sleep(time.Hour)
		if after, _ := c.history(); len(after) != len(before) {
			t.Errorf("opened %d more times with nobody watching", len(after)-len(before))
		}
	})
}

// Without any camera the emulated one is shown, until a real one is plugged
// in, and never after that.
func TestCameraStandIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "", "auto", 10*time.Second)
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		c.set("/dev/video0", nil, nil)
		time.Sleep(2 * time.Second)
		if mode := k.currentStatus().Mode; mode != modeLive {
			t.Errorf("mode %q 2 s after a camera was plugged in", mode)
		}
		c.set("", nil, errors.New("gone"))
		time.Sleep(time.Minute)
		if got, want := shown(v), "emulated, live, camera lost"; got != want {
			t.Errorf("the viewer saw %s, want %s", got, want)
		}
	})
}

// The emulated camera that was asked for stays when a real one comes.
func TestCameraEmulated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "", "emulated", 10*time.Second)
		v := newViewer(t, k.stream, 0)
		time.Sleep(3*time.Second + 100*time.Millisecond)
		c.set("/dev/video7", nil, nil)
		time.Sleep(3 * time.Second)
		if opened, _ := c.history(); shown(v) != "emulated" || len(opened) > 0 {
			t.Errorf("the viewer saw %s, the real camera was opened at %v", shown(v), opened)
		}
		var numbers []int
		for _, p := range v.received() {
			numbers = append(numbers, p.number)
		}
		if want := []int{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7}; !slices.Equal(numbers, want) {
			t.Errorf("pictures %v in 6.1 s, want %v", numbers, want)
		}
	})
}

// Damaged pictures are dropped and counted. A camera that sends no others is opened again.
func TestCameraDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSupervisor(t, "/dev/video0", "/dev/video0", 10*time.Second)
		v := newViewer(t, k.stream, 0)
		time.Sleep(time.Second + 50*time.Millisecond)
		c.set("/dev/video0", nil, mjpeg.ErrDamaged)
		time.Sleep(time.Second)
		c.set("/dev/video0", nil, nil)
		time.Sleep(time.Second)
		if got := k.currentStatus().Damaged; got != 10 {
			t.Errorf("%d damaged pictures counted, want 10", got)
		}
		if got := shown(v); got != "live" {
			t.Errorf("the viewer saw %s, want no more than a pause", got)
		}
		c.set("/dev/video0", nil, mjpeg.ErrDamaged)
		time.Sleep(time.Minute)
		if got, want := shown(v), "live, camera lost"; got != want {
			t.Errorf("the viewer saw %s, want %s", got, want)
		}
		// Not again each time that it was opened.
		if n := strings.Count(logged.String(), "/dev/video0: only damaged pictures for 2s"); n != 1 {
			t.Errorf("logged %d times that pictures are damaged, want once:\n%s", n, logged)
		}
	})
}

// The log tells of damaged pictures at once, and then once a minute how many there were.
func TestDamageLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, logged := startSupervisor(t, "/dev/video0", "/dev/video0", 10*time.Second)
		newViewer(t, k.stream, 0)
		time.Sleep(50 * time.Millisecond)
		rare, usual := mjpeg.Damage("it is rare"), mjpeg.Damage("it is usual")
		for i := range 150 {
			cause := usual
			if i%3 == 0 {
				cause = rare
			}
			time.Sleep(900 * time.Millisecond)
			c.set("/dev/video0", nil, cause)
			time.Sleep(100 * time.Millisecond) // one picture
			c.set("/dev/video0", nil, nil)
		}
		var lines []string
		for line := range strings.Lines(logged.String()) {
			if strings.Contains(line, "damaged") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		want := []string{
			"/dev/video0: a damaged picture was left out: it is rare",
			"/dev/video0: 60 damaged pictures were left out in 1m0s, most often because it is usual",
			"/dev/video0: 60 damaged pictures were left out in 1m0s, most often because it is usual",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("logged\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
	})
}

// A snapshot from a camera that was just opened waits for its exposure.
func TestSnapshotSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, _ := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		enter(t, k.stream)
		defer k.stream.removeViewer()
		start := time.Now()
		f, err := k.stream.frameAfter(t.Context(), start)
		if err != nil {
			t.Fatal(err)
		}
		defer f.release()
		if got, want := f.at.Sub(start), time.Second; got != want {
			t.Errorf("the first snapshot was captured after %v, want the frame after %v", got, want)
		}
	})
}

// A camera that is there and does not work is no reason to show one of another
// driver.
func TestCameraOfAnotherDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &fakeCamera{begin: time.Now()}
		other := &fakeCamera{begin: time.Now(), device: "/dev/other"}
		k, _ := supervise(t, "auto", 10*time.Second, first.driver(), driver{name: "other", rank: 2, open: other.open, devices: other.devices})
		first.set("/dev/video0", nil, errors.New("the program of the camera died"))
		v := newViewer(t, k.stream, 0)
		time.Sleep(5 * time.Second)
		if got, want := shown(v), "camera lost"; got != want {
			t.Errorf("the viewer saw %s, want %s", got, want)
		}
		first.set("", nil, nil)
		time.Sleep(2 * time.Second)
		if got, want := shown(v), "camera lost, live"; got != want {
			t.Errorf("without the first: the viewer saw %s, want %s", got, want)
		}
	})
}

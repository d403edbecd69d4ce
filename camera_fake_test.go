package main

import (
	"bytes"
	"cmp"
	"context"
	"log"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCamera is a camera and its driver: 10 pictures a second, unless err or another rate was
// asked for.
type fakeCamera struct {
	begin   time.Time     // of the test
	startup time.Duration // from opening to the first picture, and one interval
	dark    int           // pictures after that, until the exposure is right

	mu      sync.Mutex // for the race detector: the test's clock keeps the order
	device  string     // the one that there is; "" for none
	openErr error
	err     error // of Capture
	opened  []time.Duration
	closed  []time.Duration
	log     func(line string) // of the supervisor
	due     func(at time.Time) bool
	want    settings // as of the last opening
	count   int      // pictures since then
}

func (c *fakeCamera) open(_ string, want settings) (camera, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, time.Since(c.begin))
	c.want, c.count, c.due = want, 0, nil
	if c.device == "" {
		return nil, notFoundError("no camera found")
	}
	return c, c.openErr
}

func (c *fakeCamera) devices() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.device == "" {
		return nil
	}
	return []string{c.device}
}

func (c *fakeCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	for {
		if !sleep(ctx, c.untilNext()) {
			return dst, time.Time{}, ctx.Err()
		}
		at := time.Now()
		if c.due != nil && !c.due(at) {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return append(dst, c.picture()...), at, c.err
	}
}

// untilNext counts a picture and returns how long it takes.
func (c *fakeCamera) untilNext() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	rate := cmp.Or(c.want.fps, 10)
	if rate < slowRate {
		rate = startRate
	}
	wait := interval(rate)
	if c.count == 1 {
		wait += c.startup
	}
	return wait
}

// picture returns the picture as it is now.
func (c *fakeCamera) picture() []byte {
	if c.count <= c.dark {
		return testJPEG(frameSize+1024, 'd')
	}
	return testJPEG(frameSize+1024, 'c')
}

func (c *fakeCamera) setDue(due func(at time.Time) bool) {
	if c.want.fps > 0 && c.want.fps < slowRate {
		c.due = due
	}
}

func (c *fakeCamera) Info() cameraInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cameraInfo{
		Name: "fake", Driver: "fake", Device: c.device, Format: "MJPG",
		Width: cmp.Or(c.want.width, 640), Height: cmp.Or(c.want.height, 480), FPS: cmp.Or(c.want.fps, 10),
	}
}

func (c *fakeCamera) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = append(c.closed, time.Since(c.begin))
	return nil
}

func (c *fakeCamera) setLog(log func(line string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = log
}

// set changes the camera while it runs.
func (c *fakeCamera) set(device string, openErr, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device, c.openErr, c.err = device, openErr, err
}

// history returns when the camera was opened and closed.
func (c *fakeCamera) history() (opened, closed []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.opened), slices.Clone(c.closed)
}

// startSupervisor runs a supervisor of a fake camera beside the emulated one, until the
// test ends.
func startSupervisor(t *testing.T, device, want string, idle time.Duration) (k *supervisor, c *fakeCamera, logged *bytes.Buffer) {
	c = &fakeCamera{begin: time.Now(), device: device}
	k, logged = supervise(t, want, idle, c.driver())
	return k, c, logged
}

// driver returns the driver of the camera.
func (c *fakeCamera) driver() driver {
	return driver{name: "fake", rank: 1, settle: 450 * time.Millisecond, open: c.open, devices: c.devices}
}

// withoutDevices returns the drivers of this build that have no devices, and others.
func withoutDevices(others ...driver) []driver {
	without := slices.DeleteFunc(slices.Clone(thisHost.drivers), func(d driver) bool { return d.devices != nil })
	without = append(without, others...)
	sortByRank(without)
	return without
}

// supervise runs a supervisor of some drivers beside that of the emulated camera, until the
// test ends.
func supervise(t *testing.T, want string, idle time.Duration, drivers ...driver) (k *supervisor, logged *bytes.Buffer) {
	return startSupervising(t, settings{camera: want, width: 640, height: 480, quality: 80}, idle, drivers...)
}

// startSupervising is supervise with all settings.
func startSupervising(t *testing.T, want settings, idle time.Duration, drivers ...driver) (k *supervisor, logged *bytes.Buffer) {
	logged = new(bytes.Buffer)
	k = newSupervisor(startStream(t), withoutDevices(drivers...), want, idle, log.New(logged, "", 0))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() {
		k.run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
	return k, logged
}

// shown tells what a viewer was shown: "camera lost, live, camera lost".
func shown(v *viewer) string {
	var all []string
	for _, p := range v.received() {
		what := "something else"
		switch {
		case bytes.Equal(p.jpeg, sent(lostPicture)):
			what = "camera lost"
		case bytes.Equal(p.jpeg, sent(testJPEG(frameSize+1024, 'c'))):
			what = "live"
		case bytes.Equal(p.jpeg, sent(testJPEG(frameSize+1024, 'd'))):
			what = "dark"
		case isPicture(string(p.jpeg)):
			what = "emulated"
		}
		if len(all) == 0 || all[len(all)-1] != what {
			all = append(all, what)
		}
	}
	return strings.Join(all, ", ")
}

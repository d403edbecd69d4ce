package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// retryDoubtful is how soon a device is tried again that may be no camera, while
// no device comes or goes. To find out that it gives no picture takes a while.
const retryDoubtful = 10 * time.Second

// A source is a camera that is open and has given a picture.
type source struct {
	camera
	driver  driver
	change  uint32    // of what is wanted, as of its opening
	settled time.Time // when its exposure is right

	// The first picture, which is not published yet.
	frame *frame
	jpeg  []byte
	at    time.Time
}

// A candidate is something that may be a camera.
type candidate struct {
	driver driver
	device string // "": the first that the driver has
}

// A doubt is about a device that was tried and may be no camera.
type doubt struct {
	err   error
	until time.Time // when it is tried again
}

// search tries whatever may be a camera until one gives a picture. It returns nil
// when there is nobody to search for. Meanwhile viewers see that the camera is
// lost or, as long as none was ever there, the emulated one.
func (k *keeper) search(ctx context.Context) *source {
	emulated, stopEmulated := false, func() {}
	defer func() { stopEmulated() }()
	for {
		likely, doubtful, missing := k.candidates()
		found, err := k.tryEach(ctx, likely, missing)
		if err != nil {
			if standIn := k.mayStandIn(err); standIn && !emulated {
				emulated, stopEmulated = true, k.startEmulated(ctx, err)
			} else if !standIn {
				stopEmulated()
				emulated, stopEmulated = false, func() {}
				k.showLost(err)
			}
			found, _ = k.tryEach(ctx, doubtful, nil)
		}
		if found != nil {
			return found
		}
		if k.rest(ctx, emulated) {
			stopEmulated()
			k.release()
			return nil
		}
	}
}

// candidates lists what is to be tried now: the likely ones, then those that are
// doubtful. These must not keep a camera from coming back that is there. missing
// says why there are none, or are no others.
func (k *keeper) candidates() (likely, doubtful []candidate, missing error) {
	var want settings
	want, k.trying = k.wanted()
	k.noteDevices()
	for _, d := range drivers {
		if !k.wants(d) {
			continue
		}
		devices := []string{want.device()}
		if d.find != nil {
			var err error
			if devices, err = d.find(want); err != nil {
				missing = err
			}
		}
		for _, device := range devices {
			doubt, known := k.doubts[device]
			switch {
			case !known:
				likely = append(likely, candidate{d, device})
			case time.Now().After(doubt.until):
				doubtful = append(doubtful, candidate{d, device})
			}
		}
	}
	if missing == nil && len(likely) == 0 {
		missing = errNoCamera
	}
	for _, doubt := range k.doubts {
		missing = k.better(missing, doubt.err)
	}
	if k.real && slices.ContainsFunc(likely, func(c candidate) bool { return c.device == want.last.Device }) {
		doubtful = nil
	}
	return likely, doubtful, missing
}

// wants reports whether the wanted camera may be one of d's. The emulated one only
// stands in, unless it was asked for.
func (k *keeper) wants(d driver) bool {
	if k.given.camera == "auto" || k.given.device() != "" {
		return d.devices != nil
	}
	return k.given.camera == d.name
}

// noteDevices notes which devices there are, and forgets doubts about others.
func (k *keeper) noteDevices() {
	k.devices = allDevices()
	for device := range k.doubts {
		if !slices.Contains(k.devices, device) {
			delete(k.doubts, device)
		}
	}
}

// tryEach tries one candidate after the other. The error is the most helpful one,
// missing among them; it is nil if the search is to begin again.
func (k *keeper) tryEach(ctx context.Context, candidates []candidate, missing error) (*source, error) {
	var reason error
	for i, c := range candidates {
		if i > 0 && c.isBeyond(candidates[i-1], reason) {
			break
		}
		found, err := k.try(ctx, c)
		switch {
		case found != nil:
			return found, nil
		case ctx.Err() != nil || k.interrupted() || k.goBack(err):
			return nil, nil
		}
		reason = k.better(reason, err)
	}
	return nil, k.better(reason, missing)
}

// isBeyond reports whether c is not to be tried after the candidate before it, which
// failed for a reason: a camera that is there and does not work is no reason to show
// one of another driver.
func (c candidate) isBeyond(before candidate, reason error) bool {
	return c.driver.name != before.driver.name && !maybeNoCamera(reason)
}

// better returns the more helpful of two errors: that of a camera, rather than that
// of something that may be none; and that one only until a camera was there. Of
// drivers that have no camera the last says it best: it would have most.
func (k *keeper) better(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case !maybeNoCamera(err):
			return 4
		case !errors.Is(err, fs.ErrNotExist) && (!k.real || k.given.device() != ""):
			return 3
		case errors.Is(err, fs.ErrNotExist):
			return 2
		}
		return 1
	}
	if rank(b) > rank(a) || rank(b) == 2 && rank(a) == 2 {
		return b
	}
	return a
}

// try opens a candidate and waits for its first picture.
func (k *keeper) try(ctx context.Context, c candidate) (*source, error) {
	ctx, cancel := k.untilInterrupted(ctx)
	defer cancel()
	want, change := k.wanted()
	cam, err := c.driver.open(c.device, want)
	if err != nil {
		k.doubt(c, err)
		return nil, err
	}
	if t, ok := cam.(logSetter); ok {
		t.setLog(k.hear)
	}
	k.change(func(s *status) {
		s.Opened++
		if s.Mode == modeIdle || s.Mode == modeStarting {
			s.Mode, s.cameraInfo = modeStarting, cam.Info()
			s.Reason = cam.Info().label() + ": the camera is starting"
		}
	})
	found := &source{camera: cam, driver: c.driver, change: change, settled: time.Now().Add(c.driver.settle)}
	found.frame, found.jpeg, found.at, err = k.capture(ctx, cam)
	if err != nil {
		cam.Close()
		if ctx.Err() == nil {
			k.doubt(c, err)
		}
		return nil, err
	}
	if found.at.After(found.settled) { // it was slow to start
		found.settled = found.at.Add(c.driver.settle)
	}
	delete(k.doubts, c.device)
	return found, nil
}

// doubt remembers a device that may be no camera, as its error leaves open. One
// that was asked for by its name, or has given pictures, is not in doubt.
func (k *keeper) doubt(c candidate, err error) {
	want, _ := k.wanted()
	if maybeNoCamera(err) && c.device != "" && c.device != want.device() && c.device != want.last.Device {
		k.doubts[c.device] = doubt{err, time.Now().Add(retryDoubtful)}
	}
}

// untilInterrupted returns a context that ends when there is a reason to begin
// the search again.
func (k *keeper) untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() {
		for !k.interrupted() {
			if !sleep(ctx, lookEvery) {
				return
			}
		}
		cancel()
	})
	return ctx, func() {
		cancel()
		background.Wait()
	}
}

// interrupted reports whether a device came or went, nobody watches any more, or
// something else is wanted than when the search began.
func (k *keeper) interrupted() bool {
	return k.devicesChanged() || k.trying != k.changes() || k.idle > 0 && k.stream.unattended() > k.idle
}

// rest waits before the next round: for retryEvery, or until there is a reason not
// to wait. It reports whether to give up, because nobody watches. Real cameras
// that are not there do not come without a sign, so the emulated one may play.
func (k *keeper) rest(ctx context.Context, emulated bool) (giveUp bool) {
	pause, patience := retryEvery, time.Duration(0)
	if emulated {
		pause, patience = retryDoubtful, k.idle
	}
	for end := time.Now().Add(pause); time.Now().Before(end); {
		if k.idle > 0 && k.stream.unattended() > patience {
			return true
		}
		if k.interrupted() {
			return false
		}
		if !sleep(ctx, lookEvery) {
			return true
		}
	}
	return false
}

// mayStandIn reports whether the emulated camera is to be shown while err is what
// is known of real ones.
func (k *keeper) mayStandIn(err error) bool {
	return k.given.camera == "auto" && !k.real && maybeNoCamera(err)
}

// startEmulated shows the emulated camera until it is stopped. Why no real one is
// shown goes into the log.
func (k *keeper) startEmulated(ctx context.Context, why error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() {
		for ctx.Err() == nil {
			k.playEmulated(ctx, why)
		}
	})
	return func() {
		cancel()
		background.Wait()
	}
}

// playEmulated shows the emulated camera until ctx ends, or something else is
// wanted of it.
func (k *keeper) playEmulated(ctx context.Context, why error) {
	want, change := k.wanted()
	cam := newEmulatedCamera(want.fps)
	defer cam.Close()
	defer k.detach()
	k.announceStandIn(cam, why)
	for live := false; change == k.changes(); live = true {
		f, jpeg, at, err := k.capture(ctx, cam)
		if err != nil {
			return
		}
		f.good = true
		k.stream.publish(f, jpeg, at)
		if !live {
			k.setLive(cam, change)
		}
	}
}

func (k *keeper) announceStandIn(cam camera, why error) {
	line := "camera: " + cam.Info().String() + "; no real one was found"
	if !errors.Is(why, fs.ErrNotExist) {
		line += fmt.Sprintf(" (%v)", why)
	}
	k.say(line + ", one that is plugged in takes over")
}

// goBack gives up a change by a viewer that the camera did not take, as err says,
// and reports whether there was one: to what worked before.
func (k *keeper) goBack(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.worked == nil || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	now := fmt.Sprintf("%dx%d", k.want.width, k.want.height)
	if k.want.fps != k.worked.fps {
		now += fmt.Sprintf(" at %v fps", k.want.fps)
	}
	k.want.width, k.want.height = k.worked.width, k.worked.height
	k.want.fps, k.want.quality = k.worked.fps, k.worked.quality
	k.worked = nil
	k.number++
	k.refused = fmt.Sprintf("not %s: %v", now, err)
	k.log.Printf("%s; back to what worked", k.refused)
	return true
}

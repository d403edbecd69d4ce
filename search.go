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

// backOffInterval is the time until a device that may be no camera is tried again, unless a
// device comes or goes before. Finding out that it gives no picture takes a while.
const backOffInterval = 10 * time.Second

// An openedCamera is a camera that is open and has given a picture.
type openedCamera struct {
	camera
	candidate         // that it was
	pace       pace   // of its pictures
	generation uint32 // of the settings that it was opened with

	// The first picture, which is not published yet.
	frame *frame
	jpeg  []byte
	at    time.Time
}

// A candidate may be a camera.
type candidate struct {
	driver driver
	device string // "": the first that the driver has
}

// A failure is about a device that was tried and may be no camera.
type failure struct {
	err     error
	retryAt time.Time // when it is tried again
}

// probe opens the camera and closes it again, to log at the start what there is. It returns why
// there is none.
func (sv *supervisor) probe() error {
	likely, _, missing := sv.candidates()
	want, change := sv.wanted()
	var why error
	for i, c := range likely {
		if i > 0 && c.isBeyond(likely[i-1], why) {
			break
		}
		var cam camera
		err := sv.guard(func() (err error) { cam, err = c.driver.open(c.device, want); return err })
		if err == nil {
			defer cam.Close()
			sv.logChange("camera: " + cam.Info().String())
			sv.report(cam, change)
			sv.source = c
			return nil
		}
		why = sv.moreHelpful(why, err)
	}
	why = sv.moreHelpful(why, missing)
	if sv.mayEmulate(why) {
		cam := newEmulatedCamera(want.fps, want.turn)
		defer cam.Close()
		sv.logEmulated(cam, why)
		sv.report(cam, change)
		return nil
	}
	return why
}

// report notes what a camera is and what it can do.
func (sv *supervisor) report(cam camera, change uint32) {
	sv.updateStatus(func(s *cameraStatus) {
		s.cameraInfo = cam.Info()
		s.Opened++
		sv.statusGeneration = change
	})
	sv.attach(cam)
	sv.detach()
}

// search tries all that may be cameras until one gives a picture. It returns nil when nobody
// watches any more. Meanwhile viewers see that the camera is lost or, if there never was
// one, the emulated camera.
func (sv *supervisor) search(ctx context.Context) *openedCamera {
	emulated, stopEmulated := false, func() {}
	defer func() { stopEmulated() }()
	for {
		sv.steps.Add(1)
		likely, doubtful, missing := sv.candidates()
		found, err := sv.tryEach(ctx, likely, missing)
		if err != nil {
			if standIn := sv.mayEmulate(err); standIn && !emulated {
				emulated, stopEmulated = true, sv.startEmulated(ctx, err)
			} else if !standIn {
				stopEmulated()
				emulated, stopEmulated = false, func() {}
				sv.showLost(err)
			}
			found, _ = sv.tryEach(ctx, doubtful, nil)
		}
		if found != nil {
			return found
		}
		if sv.waitRetry(ctx, emulated) {
			stopEmulated()
			sv.setIdle()
			return nil
		}
	}
}

// candidates lists what to try now: the likely ones and, after those, the doubtful ones, which
// failed before. These must not delay a camera that comes back. missing says why there are
// none, or no others.
func (sv *supervisor) candidates() (likely, doubtful []candidate, missing error) {
	var want settings
	want, sv.searchGeneration = sv.wanted()
	sv.updateDevices()
	for _, d := range sv.drivers {
		if !sv.wants(d) {
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
			doubt, known := sv.failures[device]
			switch {
			case !known:
				likely = append(likely, candidate{d, device})
			case time.Now().After(doubt.retryAt):
				doubtful = append(doubtful, candidate{d, device})
			}
		}
	}
	if missing == nil && len(likely) == 0 {
		missing = errNoCamera
	}
	for _, doubt := range sv.failures {
		missing = sv.moreHelpful(missing, doubt.err)
	}
	if sv.hadCamera && slices.ContainsFunc(likely, func(c candidate) bool { return c.device == want.last.Device }) {
		doubtful = nil
	}
	return likely, doubtful, missing
}

// wants reports whether the wanted camera may be one of d's. The emulated one is only used in
// place of others, unless it was asked for.
func (sv *supervisor) wants(d driver) bool {
	name, _ := sv.initial.driver()
	if name == "auto" {
		return d.devices != nil
	}
	return name == d.name
}

// updateDevices notes which devices there are, and forgets the failures of others.
func (sv *supervisor) updateDevices() {
	sv.devices = sv.listDevices()
	for device := range sv.failures {
		if !slices.Contains(sv.devices, device) {
			delete(sv.failures, device)
		}
	}
}

// tryEach tries one candidate after the other. It returns the most helpful error, missing
// among them, or nil if the search must start again.
func (sv *supervisor) tryEach(ctx context.Context, candidates []candidate, missing error) (*openedCamera, error) {
	var reason error
	for i, c := range candidates {
		if i > 0 && c.isBeyond(candidates[i-1], reason) {
			break
		}
		found, err := sv.try(ctx, c)
		switch {
		case found != nil:
			return found, nil
		case ctx.Err() != nil || sv.interrupted() || sv.revert(err):
			return nil, nil
		}
		reason = sv.moreHelpful(reason, err)
	}
	return nil, sv.moreHelpful(reason, missing)
}

// isBeyond reports whether c should not be tried after the candidate before it, which failed
// for a reason. If a camera is there and does not work, that is no reason to show one of
// another driver.
func (c candidate) isBeyond(before candidate, reason error) bool {
	return c.driver.name != before.driver.name && !maybeNoCamera(reason)
}

// moreHelpful returns the more helpful of two errors. That of a camera is more helpful than
// that of a device that may be none, which counts only until a camera was there. Of drivers
// that have no camera, the last says it best, as it supports the most.
func (sv *supervisor) moreHelpful(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case !maybeNoCamera(err):
			return 4
		case isAdvice(err) && (!sv.hadCamera || sv.initial.device() != ""):
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
func (sv *supervisor) try(ctx context.Context, c candidate) (*openedCamera, error) {
	ctx, cancel := sv.untilInterrupted(ctx)
	defer cancel()
	want, change := sv.wanted()
	found, err := sv.open(c, want, change)
	if err != nil {
		sv.backOff(c, err)
		return nil, err
	}
	works := false
	defer func() {
		if !works { // or it panics
			found.Close()
		}
	}()
	sv.updateStatus(func(s *cameraStatus) {
		if s.Mode == modeIdle || s.Mode == modeStarting {
			s.Mode, s.cameraInfo = modeStarting, found.Info()
			s.Reason = found.Info().label() + ": the camera is starting"
		}
	})
	if p, ok := found.camera.(pacedCamera); ok {
		p.setDue(func(at time.Time) bool { return sv.isDue(found, at) })
	}
	found.frame, found.jpeg, found.at, err = sv.captureFrame(ctx, found.camera)
	if err != nil {
		if ctx.Err() == nil {
			sv.backOff(c, err)
		}
		return nil, err
	}
	works = true
	delete(sv.failures, c.device)
	return found, nil
}

// open opens a candidate with settings of a generation.
func (sv *supervisor) open(c candidate, want settings, generation uint32) (*openedCamera, error) {
	var cam camera
	err := sv.guard(func() (err error) { cam, err = c.driver.open(c.device, want); return err })
	sv.steps.Add(1)
	if err != nil {
		return nil, err
	}
	if t, ok := cam.(logSetter); ok {
		t.setLog(sv.logOnce)
	}
	sv.updateStatus(func(s *cameraStatus) { s.Opened++ })
	return &openedCamera{
		camera: cam, candidate: c, generation: generation,
		pace: pace{spacing: interval(want.fps), settle: c.driver.settle, opened: time.Now()},
	}, nil
}

// backOff notes a device that failed and may be no camera, so that it is not tried again soon.
// A device that was asked for by its name, or that has given pictures, is a camera.
func (sv *supervisor) backOff(c candidate, err error) {
	want, _ := sv.wanted()
	if maybeNoCamera(err) && c.device != "" && c.device != want.device() && c.device != want.last.Device {
		sv.failures[c.device] = failure{err, time.Now().Add(backOffInterval)}
	}
}

// untilInterrupted returns a context that ends when there is a reason to start the search
// again.
func (sv *supervisor) untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() {
		defer cancel()
		sv.stream.panics.catch(func() {
			for !sv.interrupted() && sleep(ctx, devicePollInterval) {
			}
		})
	})
	return ctx, func() {
		cancel()
		background.Wait()
	}
}

// interrupted reports whether a device came or went, nobody watches any more, or the wanted
// settings have changed since the search began.
func (sv *supervisor) interrupted() bool {
	return sv.devicesChanged() || sv.searchGeneration != sv.currentGeneration() || sv.isUnwatched()
}

// waitRetry waits before the next round: for retryInterval, or until there is a reason not to
// wait. It reports whether to give up because nobody watches. While the emulated camera
// plays, it waits longer: the list of devices shows when a real one comes.
func (sv *supervisor) waitRetry(ctx context.Context, emulated bool) (giveUp bool) {
	pause, maxIdle := retryInterval, time.Duration(0)
	if emulated {
		pause, maxIdle = backOffInterval, sv.idleLimit()
	}
	for end := time.Now().Add(pause); time.Now().Before(end); {
		if sv.idle > 0 && sv.stream.idleTime() > maxIdle {
			return true
		}
		if sv.interrupted() {
			return false
		}
		if !sleep(ctx, devicePollInterval) {
			return true
		}
	}
	return false
}

// mayEmulate reports whether to show the emulated camera, after real ones failed with err.
func (sv *supervisor) mayEmulate(err error) bool {
	return sv.initial.camera == "auto" && !sv.hadCamera && maybeNoCamera(err)
}

// startEmulated shows the emulated camera until it is stopped, and logs why no real one is shown.
func (sv *supervisor) startEmulated(ctx context.Context, why error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() {
		for ctx.Err() == nil {
			if sv.guard(func() error { return sv.playEmulated(ctx, why) }) != nil {
				sleep(ctx, retryInterval)
			}
		}
	})
	return func() {
		cancel()
		background.Wait()
	}
}

// playEmulated shows the emulated camera until ctx ends, which is an error, or the wanted settings
// change.
func (sv *supervisor) playEmulated(ctx context.Context, why error) error {
	want, change := sv.wanted()
	cam := newEmulatedCamera(want.fps, want.turn)
	defer cam.Close()
	defer sv.detach()
	sv.logEmulated(cam, why)
	for live := false; change == sv.currentGeneration(); live = true {
		f, jpeg, at, err := sv.captureFrame(ctx, cam)
		if err != nil {
			return err
		}
		f.settled = true
		sv.stream.publish(f, jpeg, at)
		if !live {
			sv.setLive(cam, change)
		}
	}
	return nil
}

func (sv *supervisor) logEmulated(cam camera, why error) {
	line := "camera: " + cam.Info().String() + "; no real one was found"
	if isAdvice(why) {
		line += fmt.Sprintf(" (%v)", why)
	}
	sv.logChange(line + ", one that is plugged in takes over")
}

// revert goes back to the settings that worked, if the camera failed with err after a viewer
// had changed them. It reports whether that was so.
func (sv *supervisor) revert(err error) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.lastWorking == nil || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	worked := sv.lastWorking
	now := sv.want.difference(*worked)
	sv.want.width, sv.want.height, sv.want.turn = worked.width, worked.height, worked.turn
	sv.want.fps, sv.want.quality, sv.want.set = worked.fps, worked.quality, worked.set
	sv.lastWorking = nil
	sv.generation++
	sv.refused = fmt.Sprintf("not %s: %v", now, err)
	sv.log.Printf("%s; back to what worked", sv.refused)
	return true
}

// difference says what s asks for and other settings do not.
func (s settings) difference(other settings) string {
	var text string
	for _, one := range s.set {
		if !slices.Contains(other.set, one) {
			text += ", " + one.String()
		}
	}
	if s.rotate != other.rotate {
		text += fmt.Sprintf(", rotate=%d", s.rotate)
	}
	if s.flip != other.flip {
		text += ", flip=" + s.flip
	}
	if text == "" || s.width != other.width || s.height != other.height || s.fps != other.fps {
		size := fmt.Sprintf(", %dx%d", s.width, s.height)
		if s.fps != other.fps {
			size += fmt.Sprintf(" at %v fps", s.fps)
		}
		text = size + text
	}
	return text[2:]
}

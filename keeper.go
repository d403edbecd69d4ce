package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

//go:embed static/lost.jpg
var lostPicture []byte

const (
	// A camera that could not be opened is tried again this soon, and at
	// once when a device comes or goes. That costs next to nothing, and a
	// camera that has stalled or is in use may be free at any time.
	retryEvery = time.Second

	// lookEvery is how often the list of devices is looked at by someone
	// who waits for a camera.
	lookEvery = 500 * time.Millisecond

	// maxHeard is how many lines that cameras say are logged. Most are said
	// at each start, and the same again.
	maxHeard = 100
)

// stallAfter is how long a camera may go without a good picture: slow ones
// get five of their intervals.
func stallAfter(interval time.Duration) time.Duration {
	return max(2*time.Second, 5*interval)
}

// interval returns the time between frames at a rate in frames per second; 0 if
// that is not known.
func interval(fps float64) time.Duration {
	if fps <= 0 {
		return 0
	}
	return time.Duration(min(1/fps, 3600) * float64(time.Second))
}

// A keeper holds a camera open while somebody watches, and brings it back
// when it was lost. What can be opened is not yet a camera; a camera is what has
// given a picture: see search.go.
type keeper struct {
	stream *stream
	given  settings      // by the flags
	idle   time.Duration // from the last viewer to the release; 0: never
	log    *log.Logger

	devices   []string         // that there were when the search last looked
	doubts    map[string]doubt // devices that may be no cameras
	trying    uint32           // the change that the search goes by
	real      bool             // a camera with a device was seen: no more emulated ones
	lostShown bool             // the "camera lost" picture is the newest
	logged    string           // the last line: only changes are logged

	mu      sync.Mutex // protects these
	status  status
	want    settings        // what is given, and what viewers made of it
	number  uint32          // counts changes of it that have the camera opened anew
	granted uint32          // the change that status tells of
	worked  *settings       // before changes that the camera has yet to take; nil without
	refused string          // what viewers wanted and did not get, and why
	heard   map[string]bool // lines from a talkative camera

	adjusting sync.Mutex // protects these, and has current stay open
	current   configurable // nil while none is open
	choices   choices    // as of the last one that was
}

// status is how the camera is.
type status struct {
	cameraInfo
	Mode    string `json:"mode"`             // one of those below
	Reason  string `json:"reason,omitempty"` // why it is lost, or was when last seen
	Damaged uint32 `json:"frames_damaged"`   // pictures that came and were dropped
	Opened  uint32 `json:"times_opened"`
}

const (
	modeIdle     = "idle" // nobody watches; the camera is released
	modeStarting = "starting"
	modeLive     = "live"
	modeLost     = "lost"
)

func newKeeper(s *stream, want settings, idle time.Duration, logger *log.Logger) *keeper {
	return &keeper{
		stream: s, given: want, want: want, idle: idle, log: logger,
		status: status{Mode: modeIdle}, doubts: map[string]doubt{}, heard: map[string]bool{},
	}
}

// run keeps the camera until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer context.AfterFunc(ctx, k.stream.wake)()
	if k.idle > 0 {
		k.look()
	}
	for k.idle == 0 || k.stream.attended(ctx) {
		k.change(func(s *status) {
			if s.Mode == modeIdle {
				s.Mode = modeStarting
			}
		})
		if found := k.search(ctx); found != nil {
			if err := k.film(ctx, found); err != nil && ctx.Err() == nil {
				k.lookForTwin(found.driver)
				k.showLost(err)
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// look opens the camera and closes it again, to tell at the start what there is.
func (k *keeper) look() {
	likely, _, missing := k.candidates()
	want, change := k.wanted()
	var why error
	for i, c := range likely {
		if i > 0 && c.isBeyond(likely[i-1], why) {
			break
		}
		cam, err := c.driver.open(c.device, want)
		if err == nil {
			k.say("camera: " + cam.Info().String())
			k.present(cam, change)
			return
		}
		why = k.better(why, err)
	}
	why = k.better(why, missing)
	if k.mayStandIn(why) {
		cam := newEmulatedCamera(want.fps)
		k.announceStandIn(cam, why)
		k.present(cam, change)
		return
	}
	k.say(why.Error())
	k.change(func(s *status) { s.Reason = why.Error() })
}

// present notes what a camera is and can do, and closes it.
func (k *keeper) present(cam camera, change uint32) {
	k.change(func(s *status) {
		s.cameraInfo = cam.Info()
		s.Opened++
		k.granted = change
	})
	k.attach(cam)
	k.detach()
	cam.Close()
}

// dropUnused takes out of memory what only the start needed. It is nil where
// there is no way to do it: see memory_linux.go.
var dropUnused func()

// film publishes the frames of a camera that was found, and closes it. It returns
// nil when nobody watches any more, and when it is to be opened anew.
func (k *keeper) film(ctx context.Context, found *source) error {
	defer func() {
		k.detach()
		found.Close()
		debug.FreeOSMemory() // what it needed, nobody else may need for long
	}()
	for first := true; ; first = false {
		found.frame.good = !found.at.Before(found.settled)
		k.stream.publish(found.frame, found.jpeg, found.at)
		if first {
			k.welcome(found)
		}
		if k.idle > 0 && k.stream.unattended() > k.idle {
			k.release()
			return nil
		}
		if found.change != k.changes() {
			return nil
		}
		var err error
		if found.frame, found.jpeg, found.at, err = k.capture(ctx, found.camera); err != nil {
			return err
		}
	}
}

// welcome notes a camera that gives pictures: it is what is meant from now on.
func (k *keeper) welcome(found *source) {
	real := found.driver.devices != nil
	info := found.Info()
	k.real = k.real || real
	k.mu.Lock()
	if last := k.want.last; real {
		k.want.twin = k.want.twin && last.Name == info.Name && last.bus == info.bus
		k.want.last = info
	}
	if found.change == k.number {
		k.worked = nil
	}
	k.mu.Unlock()
	k.lookForTwin(found.driver)
	k.say("camera: " + info.String())
	k.setLive(found.camera, found.change)
	if dropUnused != nil {
		dropUnused()
	}
}

// setLive says that pictures of cam come, opened as of a change.
func (k *keeper) setLive(cam camera, change uint32) {
	k.lostShown = false
	k.change(func(s *status) {
		s.Mode, s.Reason, s.cameraInfo = modeLive, "", cam.Info()
		k.granted = change
	})
	k.attach(cam)
}

// lookForTwin notes whether there is another camera with the same name. Then one
// that comes under another number may be either.
func (k *keeper) lookForTwin(d driver) {
	if d.hasTwin == nil || k.given.device() == "" {
		return
	}
	want, _ := k.wanted()
	twin := d.hasTwin(want.last)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want.twin = k.want.twin || twin
}

// minDamaged is how many damaged pictures in a row are more than bad luck.
const minDamaged = 5

// capture returns the camera's next good picture, for a frame to be published with.
func (k *keeper) capture(ctx context.Context, cam camera) (f *frame, jpeg []byte, at time.Time, err error) {
	var since time.Time // when the first damaged one came
	for damaged := 1; ; damaged++ {
		f := k.stream.blank()
		jpeg, at, err := cam.Capture(ctx, f.room())
		if err == nil {
			return f, jpeg, at, nil
		}
		k.stream.recycle(f)
		if !errors.Is(err, errDamaged) {
			return nil, nil, at, err
		}
		k.change(func(s *status) { s.Damaged++ })
		if since.IsZero() {
			since = time.Now()
		}
		limit := stallAfter(interval(cam.Info().FPS))
		if time.Since(since) > limit && damaged >= minDamaged {
			return nil, nil, at, fmt.Errorf("%s: only damaged pictures for %v: try another cable, port or -size", cam.Info().label(), limit)
		}
	}
}

// attach has viewers change what the camera lets be changed.
func (k *keeper) attach(cam camera) {
	k.adjusting.Lock()
	defer k.adjusting.Unlock()
	k.current, _ = cam.(configurable)
	k.lookAgain()
}

// detach ends that, before the camera is closed.
func (k *keeper) detach() {
	k.adjusting.Lock()
	defer k.adjusting.Unlock()
	k.current = nil
}

// showLost shows the viewers that the camera is lost, and why.
func (k *keeper) showLost(err error) {
	k.say(err.Error())
	k.change(func(s *status) { s.Mode, s.Reason = modeLost, err.Error() })
	if !k.lostShown {
		k.lostShown = true
		f := k.stream.blank()
		f.good = false
		k.stream.publish(f, append(f.room(), lostPicture...), time.Now())
	}
}

// release notes that nobody watches any more.
func (k *keeper) release() {
	k.stream.forget()
	k.lostShown = false
	k.change(func(s *status) { s.Mode = modeIdle })
}

func (k *keeper) devicesChanged() bool {
	return !slices.Equal(allDevices(), k.devices)
}

// say logs a line, if it says something new.
func (k *keeper) say(line string) {
	if line != k.logged {
		k.logged = line
		k.log.Print(line)
	}
}

// hear logs a line that the camera said, unless it was said before or there were
// too many.
func (k *keeper) hear(line string) {
	if k.isNew(line) {
		k.log.Print(line)
	}
}

func (k *keeper) isNew(line string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.heard[line] || len(k.heard) == maxHeard {
		return false
	}
	k.heard[line] = true
	return true
}

// wanted returns what the camera is to be like, and the number of changes that led
// to it.
func (k *keeper) wanted() (want settings, change uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.want, k.number
}

// changes returns how often what is wanted has changed.
func (k *keeper) changes() uint32 {
	_, change := k.wanted()
	return change
}

func (k *keeper) change(set func(*status)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set(&k.status)
}

func (k *keeper) state() status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

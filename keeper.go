package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

//go:embed static/lost.jpg
var lostPicture []byte

const (
	// A camera that could not be opened is tried again this often, and at
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
func stallAfter(fps float64) time.Duration {
	if fps <= 0 {
		return 2 * time.Second
	}
	return max(2*time.Second, time.Duration(5/fps*float64(time.Second)))
}

// A keeper holds a camera open while somebody watches, and brings it back
// when it was lost.
type keeper struct {
	stream *stream
	given  settings      // by the flags
	idle   time.Duration // from the last viewer to the release; 0: never
	log    *log.Logger

	devices []string // that there were when the camera was opened
	real    bool     // a camera with a device was seen: no more emulated ones
	mourned bool     // the "camera lost" picture is the newest
	logged  string   // the last line: only changes are logged

	mu     sync.Mutex // protects these
	status status
	want   settings        // what is given, and what viewers made of it
	heard  map[string]bool // lines from a talkative camera

	reopen    atomic.Bool // the camera, for want has changed
	adjusting sync.Mutex  // protects these, and has current stay open
	current   adjustable  // nil while none is open
	choices   choices     // as of the last one that was
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
	return &keeper{stream: s, given: want, want: want, idle: idle, log: logger, status: status{Mode: modeIdle}, heard: map[string]bool{}}
}

// run keeps the camera until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer context.AfterFunc(ctx, k.stream.wake)()
	if k.idle > 0 {
		k.look()
	}
	for k.idle == 0 || k.stream.attended(ctx) {
		err := k.film(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.mourn(err)
			k.rest(ctx)
		}
	}
}

// look opens the camera and closes it again, to tell at the start what there is.
func (k *keeper) look() {
	cam, d, err := k.open()
	if err != nil {
		k.say(err.Error())
		k.change(func(s *status) { s.Reason = err.Error() })
		return
	}
	k.announce(cam, d)
	k.attach(cam)
	k.detach()
	cam.Close()
}

// dropUnused takes out of memory what only the start needed. It is nil where
// there is no way to do it: see memory_linux.go.
var dropUnused func()

// film opens the camera and publishes its frames. It returns nil when nobody
// watches any more, when it was a stand-in and a device has come, and when it is
// to be opened anew.
func (k *keeper) film(ctx context.Context) error {
	k.change(func(s *status) {
		if s.Mode == modeIdle {
			s.Mode = modeStarting
		}
	})
	cam, d, err := k.open()
	if err != nil {
		return err
	}
	settled := time.Now().Add(d.settle)
	var looked time.Time
	live := false
	defer func() {
		k.detach()
		cam.Close()
		if live {
			debug.FreeOSMemory() // what it needed, nobody else may need for long
		}
	}()
	for ; ; live = true {
		at, err := k.frame(ctx, cam, settled)
		if err != nil {
			return err
		}
		if !live {
			k.announce(cam, d)
			k.mourned = false
			k.change(func(s *status) { s.Mode, s.Reason = modeLive, "" })
			k.attach(cam)
			if dropUnused != nil {
				dropUnused()
			}
		}
		if k.idle > 0 && k.stream.unattended() > k.idle {
			k.stream.forget()
			k.change(func(s *status) { s.Mode = modeIdle })
			return nil
		}
		if k.reopen.Load() {
			return nil
		}
		if k.standsIn(d) && at.Sub(looked) > lookEvery {
			looked = at
			if k.devicesChanged() {
				return nil
			}
		}
	}
}

// frame publishes the camera's next good picture.
func (k *keeper) frame(ctx context.Context, cam camera, settled time.Time) (time.Time, error) {
	var damaged time.Time // when the first one came
	for {
		f := k.stream.blank()
		jpeg, at, err := cam.Capture(ctx, f.room())
		if err == nil {
			f.good = !at.Before(settled)
			k.stream.publish(f, jpeg, at)
			return at, nil
		}
		k.stream.recycle(f)
		if !errors.Is(err, errDamaged) {
			return at, err
		}
		k.change(func(s *status) { s.Damaged++ })
		if damaged.IsZero() {
			damaged = time.Now()
		}
		if limit := stallAfter(cam.Info().FPS); time.Since(damaged) > limit {
			return at, fmt.Errorf("%s: only damaged pictures for %v: try another cable, port or -size", cmp.Or(cam.Info().Device, cam.Info().Name), limit)
		}
	}
}

// open opens the camera that is wanted: the first there is of the drivers in
// question. A camera that is there and cannot be opened is an error, and no
// reason to show another.
func (k *keeper) open() (camera, driver, error) {
	k.reopen.Store(false) // before looking at what is wanted
	want := k.wanted()
	k.devices = allDevices()
	var missing error = notThere(want.camera + ": there is no driver for this camera here")
	for _, d := range drivers {
		if !k.wants(d) {
			continue
		}
		cam, err := d.open(want.device(), want)
		if err == nil {
			k.found(cam, d)
			return cam, d, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, d, err
		}
		missing = err
	}
	return nil, driver{}, missing
}

// wants reports whether the wanted camera may be one of d's. The emulated one
// stands in only until a real one was seen.
func (k *keeper) wants(d driver) bool {
	switch {
	case k.given.device() != "":
		return d.devices != nil
	case k.given.camera == "auto":
		return d.devices != nil || !k.real
	}
	return k.given.camera == d.name
}

// standsIn reports whether d's camera is shown for want of a real one.
func (k *keeper) standsIn(d driver) bool {
	return k.given.camera == "auto" && d.devices == nil
}

// found notes the camera that was opened, and what it will say.
func (k *keeper) found(cam camera, d driver) {
	k.real = k.real || d.devices != nil
	if t, ok := cam.(talkative); ok {
		t.listen(k.hear)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.cameraInfo = cam.Info()
	k.status.Opened++
	if d.devices != nil {
		k.want.last = cam.Info()
	}
}

// attach has viewers change what the camera lets be changed.
func (k *keeper) attach(cam camera) {
	k.adjusting.Lock()
	defer k.adjusting.Unlock()
	k.current, _ = cam.(adjustable)
	k.lookAgain()
}

// detach ends that, before the camera is closed.
func (k *keeper) detach() {
	k.adjusting.Lock()
	defer k.adjusting.Unlock()
	k.current = nil
}

// announce logs the camera. One that can be opened and brings no picture is not
// worth a line each time.
func (k *keeper) announce(cam camera, d driver) {
	line := "camera: " + cam.Info().String()
	if k.standsIn(d) {
		line += "; no real one was found, one that is plugged in takes over"
	}
	k.say(line)
}

// mourn shows the viewers that the camera is lost.
func (k *keeper) mourn(err error) {
	k.say(err.Error())
	k.change(func(s *status) { s.Mode, s.Reason = modeLost, err.Error() })
	if !k.mourned {
		k.mourned = true
		f := k.stream.blank()
		f.good = false
		k.stream.publish(f, append(f.room(), lostPicture...), time.Now())
	}
}

// rest waits before the next try: for retryEvery, or until a device comes or
// goes, or until nobody watches.
func (k *keeper) rest(ctx context.Context) {
	for end := time.Now().Add(retryEvery); time.Now().Before(end) && !k.devicesChanged(); {
		if k.idle > 0 && k.stream.unattended() > 0 {
			k.stream.forget()
			k.mourned = false
			k.change(func(s *status) { s.Mode = modeIdle })
			return
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return
		}
	}
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

// wanted returns what the camera is to be like.
func (k *keeper) wanted() settings {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.want
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

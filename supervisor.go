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
	"sync/atomic"
	"time"

	"porthole/mjpeg"
)

//go:embed static/lost.jpg
var lostPicture []byte

const (
	// retryInterval is the time until a camera that could not be opened is tried again,
	// unless a device comes or goes before. A try costs next to nothing, and a camera that
	// has stalled or is in use may be free at any time.
	retryInterval = time.Second

	// devicePollInterval is how often the list of devices is read while the search waits for
	// a camera.
	devicePollInterval = 500 * time.Millisecond

	// damageLogInterval is the least time between two lines about damaged pictures.
	damageLogInterval = time.Minute

	// maxSeenLines is how many different lines from cameras are logged. Most come again at
	// each start.
	maxSeenLines = 100
)

// stallAfter returns how long a camera may go without a good picture: five of its intervals,
// and two seconds at least.
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

// A supervisor keeps a camera open while somebody watches, and opens it again after it was
// lost. A device that can be opened is not yet a camera: it must give a picture. See
// search.go.
type supervisor struct {
	stream  *stream
	drivers []driver      // sorted by rank
	initial settings      // by the flags
	idle    time.Duration // from the last viewer to the release; 0: never
	log     *log.Logger

	dropUnusedPages func() // after the first picture; nil: nothing to do

	steps atomic.Uint32 // counts what it has done, which shows that it does not hang
	waits atomic.Bool   // for a viewer: there are no steps meanwhile

	devices          []string           // that there were when the search last looked
	failures         map[string]failure // devices that may be no cameras
	searchGeneration uint32             // of the settings that the search uses
	source           candidate          // the camera that was found last
	tookStill        bool               // since then: the stream goes on with no darker pictures
	hadCamera        bool               // a camera with a device was seen: no more emulated ones
	showsLost        bool               // the "camera lost" picture is the newest
	lastLine         string             // the last line: only changes are logged

	mu               sync.Mutex // protects these
	status           cameraStatus
	want             settings        // initial, and what viewers changed
	generation       uint32          // counts the changes of it after which the camera is opened again
	statusGeneration uint32          // the generation that status is of
	lastWorking      *settings       // want before changes that the camera has not taken yet; nil without
	refused          string          // what viewers wanted and did not get, and why
	seenLines        map[string]bool // from cameras
	damages          map[string]int  // damaged pictures by their cause, since damagesSince
	damagesSince     time.Time       // when they were logged last
	lastSnapshot     time.Time       // when somebody asked for it
	snapshotGap      time.Duration   // the longest between two, of late
	still            *still          // that is to be taken or sent; nil without
	nextStill        time.Time       // when the next may be asked for

	cameraMu sync.Mutex   // protects these, and keeps current open
	current  configurable // nil while none is open
	choices  choices      // as of the last one that was
}

// cameraStatus tells how the camera is.
type cameraStatus struct {
	cameraInfo
	Mode    string `json:"mode"`             // one of the constants below
	Reason  string `json:"reason,omitempty"` // why it is lost, or was lost before it was released
	Damaged uint32 `json:"frames_damaged"`   // pictures that came and were dropped
	Opened  uint32 `json:"times_opened"`
}

const (
	modeIdle     = "idle" // nobody watches; the camera is released
	modeStarting = "starting"
	modeLive     = "live"
	modeLost     = "lost"
)

func newSupervisor(s *stream, drivers []driver, want settings, idle time.Duration, logger *log.Logger) *supervisor {
	return &supervisor{
		stream: s, drivers: drivers, initial: want, want: want, idle: idle, log: logger,
		status: cameraStatus{Mode: modeIdle}, failures: map[string]failure{}, seenLines: map[string]bool{},
	}
}

// run supervises the camera until ctx ends.
func (sv *supervisor) run(ctx context.Context) {
	defer context.AfterFunc(ctx, sv.stream.wake)()
	if sv.idle > 0 {
		if err := sv.guard(sv.probe); err != nil {
			sv.logChange(err.Error())
			sv.updateStatus(func(s *cameraStatus) { s.Reason = err.Error() })
		}
	}
	for sv.idle == 0 || sv.awaitViewer(ctx) {
		sv.steps.Add(1)
		err := sv.guard(func() error { return sv.show(ctx) })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			sv.showLost(err)
		}
		if p := (*panicError)(nil); errors.As(err, &p) {
			sleep(ctx, retryInterval) // it may panic again at once
		}
	}
}

// awaitViewer waits until somebody watches; false if ctx ends first.
func (sv *supervisor) awaitViewer(ctx context.Context) bool {
	sv.waits.Store(true)
	defer sv.waits.Store(false)
	return sv.stream.waitViewer(ctx)
}

// guard calls f, and makes an error of a panic in it, which it logs.
func (sv *supervisor) guard(f func() error) (err error) {
	if p := sv.stream.panics.catch(func() { err = f() }); p != nil {
		return p
	}
	return err
}

// show shows a camera until it fails. It returns nil when nobody watches any more, when the camera
// must be opened again, and when it has taken a still.
func (sv *supervisor) show(ctx context.Context) error {
	sv.updateStatus(func(s *cameraStatus) {
		if s.Mode == modeIdle {
			s.Mode = modeStarting
		}
	})
	if sv.takeStill(ctx) {
		return nil
	}
	found := sv.search(ctx)
	if found == nil {
		return nil
	}
	err := sv.capture(ctx, found)
	if err != nil && ctx.Err() == nil {
		sv.checkTwin(found.driver)
	}
	return err
}

// capture publishes the frames of a camera that was found, until it fails, and closes it. It
// returns nil when nobody watches any more, and when the camera must be opened again. After a
// still, frames from before the exposure was right do not take the place of one that is better.
func (sv *supervisor) capture(ctx context.Context, found *openedCamera) error {
	defer func() {
		sv.detach()
		found.Close()
		debug.FreeOSMemory() // nothing else may need its memory for long
	}()
	afterStill := sv.tookStill
	sv.tookStill = false
	info := found.Info()
	for first := true; ; first = false {
		found.frame.settled = found.pace.note(found.at)
		if found.frame.settled || !afterStill || !sv.stream.isSettled() {
			sv.stream.publish(found.frame, found.jpeg, found.at)
		} else {
			sv.stream.putFrame(found.frame)
		}
		if first {
			sv.noteFound(found)
		}
		if sv.isUnwatched() {
			sv.setIdle()
			return nil
		}
		if sv.mustReopen(found) {
			return nil
		}
		var err error
		if found.frame, found.jpeg, found.at, err = sv.captureFrame(ctx, found.camera); err != nil {
			return err
		}
		if now := found.Info(); now != info { // another encoder has taken over, or the size is another
			info = now
			sv.updateStatus(func(s *cameraStatus) { s.cameraInfo = now })
		}
	}
}

// mustReopen reports whether the camera must be opened again: with other settings, or for a still.
func (sv *supervisor) mustReopen(found *openedCamera) bool {
	return found.generation != sv.currentGeneration() || sv.waitingStill() != nil
}

// isUnwatched reports whether nobody has been watching for so long that the camera is released.
func (sv *supervisor) isUnwatched() bool {
	return sv.idle > 0 && sv.stream.idleTime() > sv.idleLimit()
}

// noteFound notes a camera that gives pictures. It is preferred from now on.
func (sv *supervisor) noteFound(found *openedCamera) {
	sv.source = found.candidate
	real := found.driver.devices != nil
	info := found.Info()
	sv.hadCamera = sv.hadCamera || real
	sv.mu.Lock()
	if last := sv.want.last; real {
		sv.want.twin = sv.want.twin && last.Name == info.Name && last.bus == info.bus
		sv.want.last = info
	}
	if found.generation == sv.generation {
		sv.lastWorking = nil
	}
	sv.mu.Unlock()
	sv.checkTwin(found.driver)
	sv.logChange("camera: " + info.String())
	sv.setLive(found.camera, found.generation)
	if sv.dropUnusedPages != nil {
		sv.dropUnusedPages()
	}
}

// setLive says that pictures of cam come, opened as of a change.
func (sv *supervisor) setLive(cam camera, change uint32) {
	sv.showsLost = false
	sv.updateStatus(func(s *cameraStatus) {
		s.Mode, s.Reason, s.cameraInfo = modeLive, "", cam.Info()
		sv.statusGeneration = change
	})
	sv.attach(cam)
}

// checkTwin notes whether there is another camera with the same name. Then a camera that comes
// back under another number may be either.
func (sv *supervisor) checkTwin(d driver) {
	if d.hasTwin == nil || sv.initial.device() == "" {
		return
	}
	want, _ := sv.wanted()
	twin := d.hasTwin(want.last)
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.want.twin = sv.want.twin || twin
}

// minDamaged is how many damaged pictures in a row must come before the camera is given up.
const minDamaged = 5

// captureFrame returns the camera's next good picture, and the frame to publish it with.
func (sv *supervisor) captureFrame(ctx context.Context, cam camera) (f *frame, jpeg []byte, at time.Time, err error) {
	var since time.Time // when the first damaged one came
	for damaged := 1; ; damaged++ {
		f := sv.stream.getFrame()
		err := sv.guard(func() (err error) { jpeg, at, err = cam.Capture(ctx, f.jpegBuffer()); return err })
		sv.steps.Add(1)
		if err == nil {
			return f, jpeg, at, nil
		}
		sv.stream.putFrame(f)
		if !errors.Is(err, mjpeg.ErrDamaged) {
			return nil, nil, at, err
		}
		sv.noteDamaged(cam, err)
		if since.IsZero() {
			since = time.Now()
		}
		limit := stallAfter(interval(cam.Info().FPS))
		if time.Since(since) > limit && damaged >= minDamaged {
			return nil, nil, at, fmt.Errorf("%s: only damaged pictures for %v: try another cable, port or -size", cam.Info().label(), limit)
		}
	}
}

// noteDamaged counts a damaged picture. It logs the first, and then at most once a minute how
// many there were.
func (sv *supervisor) noteDamaged(cam camera, err error) {
	cause := err.Error()
	if damage := mjpeg.Damage(""); errors.As(err, &damage) {
		cause = string(damage)
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.status.Damaged++
	if sv.damages == nil {
		sv.damages = map[string]int{}
	}
	sv.damages[cause]++
	past := time.Since(sv.damagesSince)
	if past < damageLogInterval {
		return
	}
	count := 0
	for c, n := range sv.damages {
		count += n
		if n > sv.damages[cause] {
			cause = c
		}
	}
	line := fmt.Sprintf("%s: a damaged picture was left out: %s", cam.Info().label(), cause)
	if count > 1 {
		line = fmt.Sprintf("%s: %d damaged pictures were left out in %v, most often because %s", cam.Info().label(), count, past.Round(time.Second), cause)
	}
	sv.log.Print(line)
	clear(sv.damages)
	sv.damagesSince = time.Now()
}

// attach lets viewers change the settings of a camera.
func (sv *supervisor) attach(cam camera) {
	sv.cameraMu.Lock()
	defer sv.cameraMu.Unlock()
	sv.current, _ = cam.(configurable)
	sv.refreshChoices()
}

// detach ends that before the camera is closed.
func (sv *supervisor) detach() {
	sv.cameraMu.Lock()
	defer sv.cameraMu.Unlock()
	sv.current = nil
}

// showLost shows the viewers that the camera is lost, and why.
func (sv *supervisor) showLost(err error) {
	sv.logChange(err.Error())
	sv.updateStatus(func(s *cameraStatus) { s.Mode, s.Reason = modeLost, err.Error() })
	if !sv.showsLost {
		sv.showsLost = true
		f := sv.stream.getFrame()
		f.settled = false
		sv.stream.publish(f, append(f.jpegBuffer(), lostPicture...), time.Now())
	}
}

// setIdle notes that nobody watches any more.
func (sv *supervisor) setIdle() {
	sv.stream.dropLatest()
	sv.showsLost = false
	sv.updateStatus(func(s *cameraStatus) { s.Mode = modeIdle })
}

func (sv *supervisor) devicesChanged() bool {
	return !slices.Equal(sv.listDevices(), sv.devices)
}

// listDevices lists the devices that may be cameras.
func (sv *supervisor) listDevices() []string {
	var all []string
	for _, d := range sv.drivers {
		if d.devices != nil {
			all = append(all, d.devices()...)
		}
	}
	return all
}

// logChange logs a line, unless it is the same as the last.
func (sv *supervisor) logChange(line string) {
	if line != sv.lastLine {
		sv.lastLine = line
		sv.log.Print(line)
	}
}

// logOnce logs a line from a camera, unless it was logged before or there were too many.
func (sv *supervisor) logOnce(line string) {
	if sv.isNew(line) {
		sv.log.Print(line)
	}
}

func (sv *supervisor) isNew(line string) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.seenLines[line] || len(sv.seenLines) == maxSeenLines {
		return false
	}
	sv.seenLines[line] = true
	return true
}

// wanted returns the settings that the camera should have, and their generation.
func (sv *supervisor) wanted() (want settings, change uint32) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.want, sv.generation
}

// currentGeneration returns the generation of the wanted settings.
func (sv *supervisor) currentGeneration() uint32 {
	_, change := sv.wanted()
	return change
}

func (sv *supervisor) updateStatus(set func(*cameraStatus)) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	set(&sv.status)
}

func (sv *supervisor) currentStatus() cameraStatus {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.status
}

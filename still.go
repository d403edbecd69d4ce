package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

const (
	// stillSpacing is for how long, at least, the stream goes on between two stills while
	// somebody watches it.
	stillSpacing = 3 * time.Second

	// stillSendTime is how long a client may take to receive a still. Its memory is needed for
	// the next: 7 MB take as long at 1 Mbit/s.
	stillSendTime = time.Minute

	// The largest size of a camera that does not tell its sizes: all of them have it, and even
	// a Pi Zero makes a JPEG of it in less than a second.
	defaultMaxWidth  = 1920
	defaultMaxHeight = 1080
)

// A still is one picture of another size than the stream's. The camera is opened again for it,
// and then for the stream, whose viewers keep the last picture meanwhile.
type still struct {
	width, height int

	begun time.Time // when the first request came

	// mu of the supervisor protects these.
	requests int       // that wait for it, each a viewer, or are answered
	asked    time.Time // when the last of them came
	taken    bool

	ctx    context.Context // ends with the last request
	cancel context.CancelFunc

	done  chan struct{} // closed when these are set:
	frame *frame        // not one of the stream
	err   error
}

// serveStill sends a picture of a size that is not the stream's.
func (v *server) serveStill(w http.ResponseWriter, r *http.Request, width, height int) {
	if r.Method == http.MethodHead { // no reason to stop the stream
		w.Header().Set("Content-Type", "image/jpeg")
		return
	}
	start := time.Now()
	st, err := v.supervisor.requestStill(width, height, start)
	if err != nil {
		unavailable(w, err.Error())
		return
	}
	defer v.supervisor.releaseStill(st)
	ctx, end := untilHangup(r, func() error { return sendProcessing(w, r) })
	ctx, cancel := context.WithTimeout(ctx, 2*v.snapshotTimeout()) // the camera is opened twice
	defer cancel()
	select {
	case <-st.done:
		err = st.err
	case <-ctx.Done():
		err = errors.New(v.whyNoPicture(time.Since(start)))
	}
	end()
	if err != nil {
		unavailable(w, err.Error())
		return
	}
	setSnapshotHeader(w, st.frame)
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stillSendTime))
	w.Write(st.frame.jpeg)
}

// snapshotSize reads a ?size=: max, or one that the camera has.
func (sv *supervisor) snapshotSize(text string) (width, height int, err error) {
	sv.cameraMu.Lock()
	defer sv.cameraMu.Unlock()
	if text == "max" {
		want, _ := sv.wanted()
		width, height = sv.choices.largest(want)
		return width, height, nil
	}
	return sv.choices.parseSize(text)
}

// largest returns the largest size that the camera has.
func (ch choices) largest(want settings) (width, height int) {
	if len(ch.Sizes) == 0 {
		width, height = cmp.Or(ch.maxWidth, defaultMaxWidth), cmp.Or(ch.maxHeight, defaultMaxHeight)
		if want.width*want.height > width*height {
			return want.width, want.height
		}
	}
	for _, size := range ch.Sizes {
		if w, h, err := parseSize(size); err == nil && w*h > width*height {
			width, height = w, h
		}
	}
	return width, height
}

// hasSize reports whether the stream's pictures have a size, as far as it can be had.
func (sv *supervisor) hasSize(width, height int) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	grantedWidth, grantedHeight := sv.want.turn.size(sv.status.Width, sv.status.Height)
	return width == sv.want.width && height == sv.want.height ||
		width == grantedWidth && height == grantedHeight && sv.statusGeneration == sv.generation
}

// requestStill asks for a still, for a request that came now. It counts as a viewer until the
// still is taken. Requests for the same size share it until then. One at a time is taken and
// sent, so that only one takes memory.
func (sv *supervisor) requestStill(width, height int, now time.Time) (*still, error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	st := sv.still
	if st != nil && (st.taken || st.width != width || st.height != height) {
		return nil, errors.New("another picture of another size than the stream's is being taken or sent: try again soon")
	}
	if wait := sv.nextStill.Sub(now); st == nil && wait > 0 {
		return nil, fmt.Errorf("somebody watches the stream, which stops for a picture of another size: try again in %v", wait.Round(time.Second/10))
	}
	if !sv.stream.addViewer() {
		return nil, sv.stream.errFull()
	}
	if st == nil {
		ctx, cancel := context.WithCancel(context.Background())
		st = &still{width: width, height: height, begun: now, ctx: ctx, cancel: cancel, done: make(chan struct{})}
		sv.still = st
		sv.spaceStills(stillSpacing)
	}
	st.requests++
	st.asked = now
	return st, nil
}

// spaceStills makes the next still wait, if somebody watches the stream. sv.mu is held.
func (sv *supervisor) spaceStills(wait time.Duration) {
	if sv.stream.clientCount() > 0 {
		sv.nextStill = time.Now().Add(wait)
	}
}

// releaseStill ends a request: it was answered, or does not wait any more.
func (sv *supervisor) releaseStill(st *still) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if !st.taken {
		sv.stream.removeViewer()
	}
	if st.requests--; st.requests == 0 {
		st.cancel()
		sv.still = nil
	}
}

// waitingStill returns the still that somebody waits for, or nil.
func (sv *supervisor) waitingStill() *still {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.still == nil || sv.still.taken {
		return nil
	}
	return sv.still
}

// takeStill takes the still that somebody waits for, with the camera that was found last. It is
// false if there is nothing to take, or that camera must be found again first.
func (sv *supervisor) takeStill(ctx context.Context) bool {
	st := sv.waitingStill()
	if st == nil || sv.source.driver.open == nil || sv.devicesChanged() {
		return false
	}
	defer context.AfterFunc(ctx, st.cancel)()
	sv.tookStill = true
	if err := sv.guard(func() error { return sv.captureStill(st) }); err != nil {
		sv.finishStill(st, nil, err)
	}
	sv.stream.dropFree() // one is large, if there is no still
	debug.FreeOSMemory()
	if sv.idle > 0 && !sv.stream.isWatched() {
		sv.setIdle()
	}
	return true
}

// captureStill opens the camera for a still, takes it when the exposure has settled, and closes
// the camera.
func (sv *supervisor) captureStill(st *still) error {
	want, generation := sv.wanted()
	want.width, want.height, want.still = st.width, st.height, true
	opened, err := sv.open(sv.source, want, generation)
	if err != nil {
		return err
	}
	defer opened.Close()
	for {
		f, jpeg, at, err := sv.captureFrame(st.ctx, opened.camera)
		if err != nil {
			return err
		}
		f.layOut(jpeg, at, 0)
		if opened.pace.note(at) && sv.finishStill(st, f, nil) {
			return nil
		}
		sv.stream.putFrame(f)
	}
}

// finishStill gives the still, or the reason why there is none, to all who wait, who are no
// viewers any more. It is false if one of them came after the picture was captured.
func (sv *supervisor) finishStill(st *still, f *frame, err error) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if err == nil && !f.at.After(st.asked) {
		return false
	}
	st.frame, st.err, st.taken = f, err, true
	for range st.requests {
		sv.stream.removeViewer()
	}
	sv.spaceStills(time.Since(st.begun) + stillSpacing) // the stream takes as long to come back
	close(st.done)
	return true
}

package main

import "time"

const (
	// A camera settles its exposure and white balance from picture to picture, and takes about
	// ten. At less than slowRate, in frames per second, that takes too long for a snapshot:
	// moonraker-timelapse waits for 2 s, and OctoPrint for 5. So no camera runs at less if it
	// can run faster, but at about startRate, and pictures that are too many are left out. Ten
	// take 0.7 s then, which leaves 1.3 s to start.
	slowRate     = 10
	startRate    = 15
	settleFrames = 10

	// snapshotSpacing is how long a snapshot waits at most for a camera of which pictures are
	// left out.
	snapshotSpacing = time.Second
)

// A pacedCamera may run faster than it was asked to. Then Capture leaves out the pictures that
// are not due, before they cost anything.
type pacedCamera interface {
	setDue(due func(at time.Time) bool)
}

// A pace tells which pictures of an open camera are good to show: first its exposure must
// settle, and then they may come faster than they are wanted.
type pace struct {
	spacing time.Duration // between those that are wanted
	settle  time.Duration // the driver's
	opened  time.Time
	first   time.Time // when the first picture was captured
	last    time.Time // when the last one was
	next    time.Time // when the next one is due
	count   int       // pictures so far
}

// note counts a picture that was captured at a time. It reports whether the exposure was right.
func (p *pace) note(at time.Time) bool {
	if p.count == 0 {
		p.first = at
	}
	settled := p.isSettled(at)
	if settled && p.isDue(at) {
		// One spacing after this one was due, so that jitter does not add up.
		if p.next = p.next.Add(p.spacing); p.next.Before(at) {
			p.next = at.Add(p.spacing)
		}
	}
	p.count++
	p.last = at
	return settled
}

// isSettled reports whether the exposure of the next picture, captured at a time, is right:
// after the driver's time and settleFrames. A camera that is slow gets twice the time instead.
func (p *pace) isSettled(at time.Time) bool {
	return !at.Before(p.first.Add(2*p.settle)) ||
		p.count >= settleFrames && !at.Before(p.opened.Add(p.settle))
}

// isDue reports whether a picture that was captured at a time is wanted: all until the
// exposure is right, then one each spacing. It may be a little early, as the nearest to that.
func (p *pace) isDue(at time.Time) bool {
	return !p.isSettled(at) || !at.Before(p.next.Add(-p.spacing/4))
}

// isDue reports whether a picture of a camera that runs faster than it was asked to is wanted.
func (sv *supervisor) isDue(found *openedCamera, at time.Time) bool {
	return found.pace.isDue(at) || sv.mustReopen(found) || sv.isUnwatched() ||
		at.Sub(found.pace.last) >= snapshotSpacing && sv.stream.snapshotWaits()
}

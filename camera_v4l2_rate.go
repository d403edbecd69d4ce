//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
)

// setRate asks for the frame rate that suits the wanted one, if the camera has rates to ask
// for, and notes what was granted.
func (c *v4l2Camera) setRate(want settings) error {
	err := c.requestRate(want)
	c.info.FPS = c.rate
	if want.fps > 0 && want.fps < slowRate {
		c.info.FPS = min(want.fps, c.rate) // pictures too many are left out
	}
	return err
}

func (c *v4l2Camera) requestRate(want settings) error {
	parm, err := c.device.Parm()
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil // it has one rate and does not tell which
	}
	if err != nil {
		return c.optional(err, "its frame rate is not known")
	}
	c.rate = parm.TimePerFrame.Rate()
	if !parm.Settable {
		return nil
	}
	parm.TimePerFrame = runningInterval(c.intervals(), want)
	parm, err = c.device.SetParm(parm)
	if err != nil {
		return c.optional(err, "its frame rate stays as it is")
	}
	c.rate = parm.TimePerFrame.Rate()
	return nil
}

// runningInterval returns the one of intervals that the camera is to run with. A slow rate is
// none of those under slowRate, if there are others, unless -set sets an exposure that takes
// longer. Then there is none to settle.
func runningInterval(intervals []v4l2.Fract, want settings) v4l2.Fract {
	fps := cmp.Or(want.fps, 30)
	if fps >= slowRate || exposureSet(want.set) > time.Second/slowRate {
		return v4l2.NearestInterval(intervals, fps)
	}
	fast := slices.DeleteFunc(slices.Clone(intervals), func(f v4l2.Fract) bool { return f.Rate() < slowRate })
	if len(fast) == 0 {
		fast = intervals
	}
	return v4l2.NearestInterval(fast, startRate)
}

// exposureSet returns the exposure that settings set; 0 without. Older kernels have another name
// for its control.
func exposureSet(set []controlSetting) time.Duration {
	units := 0
	for _, s := range set {
		switch v4l2.ControlName(s.name) {
		case "exposure_time_absolute", "exposure_absolute":
			units, _ = strconv.Atoi(s.value)
		}
	}
	return exposureDuration(int64(units))
}

// intervals lists the times between frames of the format and size that are set.
func (c *v4l2Camera) intervals() []v4l2.Fract {
	return c.device.EnumFrameIntervals(c.pix.PixelFormat, c.pix.FrameSize)
}

// rates lists the rates of the format and size that are set, rounded, the highest first.
func (c *v4l2Camera) rates() (rates []float64) {
	for _, interval := range c.intervals() {
		rate := roundRate(interval.Rate())
		if rate > 0 && rate <= maxRate && !slices.Contains(rates, rate) {
			rates = append(rates, rate)
		}
	}
	slices.Sort(rates)
	slices.Reverse(rates)
	return rates
}

// setDue lets Capture leave out pictures, if the camera takes more than were asked for.
func (c *v4l2Camera) setDue(due func(at time.Time) bool) {
	if c.rate > c.info.FPS {
		c.due = due
	}
}

// dequeueDue waits for a picture that is due, takes it into c.buffer and returns when it was
// captured.
func (c *v4l2Camera) dequeueDue(ctx context.Context) (at time.Time, err error) {
	for {
		if err := c.dequeueNewest(ctx); err != nil {
			return at, err
		}
		at = c.capturedAt(&c.buffer)
		if c.due == nil || c.due(at) {
			return at, nil
		}
		if err := c.device.Queue(&c.buffer); err != nil {
			return at, err
		}
	}
}

// timeout returns how long the next picture may take.
func (c *v4l2Camera) timeout() time.Duration {
	slowest := max(interval(c.rate), time.Duration(c.exposure.Load()), c.longest)
	if c.last.IsZero() {
		return max(firstFrameTimeout, stallAfter(slowest))
	}
	return stallAfter(slowest)
}

// noteInterval notes that a picture came. With each one the longest interval counts a
// little less.
func (c *v4l2Camera) noteInterval(now time.Time) {
	if !c.last.IsZero() {
		c.longest = max(now.Sub(c.last), c.longest-c.longest/16)
	}
	c.last = now
}

// maxExposure is more than cameras have, in units of 100 us: ten minutes.
const maxExposure = 6_000_000

// noteExposure notes the exposure that is set.
func (c *v4l2Camera) noteExposure(value int64) {
	c.exposure.Store(int64(exposureDuration(value)))
}

// exposureDuration turns an exposure from units of 100 us.
func exposureDuration(value int64) time.Duration {
	return time.Duration(min(max(value, 0), maxExposure)) * 100 * time.Microsecond
}

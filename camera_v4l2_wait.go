//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstPatience is how long the first picture may take: sticks for HDMI and
	// many cheap cameras need some seconds.
	firstPatience = 10 * time.Second

	// waitStep is how often Capture looks whether it is to end, while it
	// waits for a picture.
	waitStep = 500 * time.Millisecond
)

// patience returns how long the next picture may take.
func (c *v4l2Camera) patience() time.Duration {
	slowest := max(interval(c.info.FPS), time.Duration(c.exposure.Load()), c.longest)
	if c.last.IsZero() {
		return max(firstPatience, stallAfter(slowest))
	}
	return stallAfter(slowest)
}

// await waits until it has dequeued a picture into c.buffer.
func (c *v4l2Camera) await(ctx context.Context) error {
	since := time.Now()
	for now := since; now.Sub(since) <= c.patience(); now = time.Now() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.setDeadline(now); err != nil {
			return err
		}
		switch err := c.watcher.wait(c.try); {
		case err == nil:
			c.noteInterval(time.Now())
			return c.tried
		case !errors.Is(err, os.ErrDeadlineExceeded):
			// There is nothing to wait for: VIDIOC_DQBUF says why.
			if c.try(uintptr(c.fd)) {
				return c.tried
			}
			return errors.New("the camera stopped streaming")
		}
	}
	if c.last.IsZero() {
		return noPictureError(fmt.Sprintf("no picture for %v: the camera does not start, or is none", c.patience()))
	}
	return fmt.Errorf("no picture for %v: the camera stalled", c.patience())
}

// noteInterval notes that a picture came. Each one has the longest interval count
// a little less.
func (c *v4l2Camera) noteInterval(now time.Time) {
	if !c.last.IsZero() {
		c.longest = max(now.Sub(c.last), c.longest-c.longest/16)
	}
	c.last = now
}

// noteExposure notes the exposure that is set, in units of 100 us.
func (c *v4l2Camera) noteExposure(value int64) {
	c.exposure.Store(min(max(value, 0), maxExposure) * int64(100*time.Microsecond))
}

// maxExposure is more than cameras have, in units of 100 us: ten minutes.
const maxExposure = 6_000_000

// setDeadline has the watcher wait for another while, and looks whether the
// source of the pictures has changed meanwhile.
func (c *v4l2Camera) setDeadline(now time.Time) error {
	if c.deadline.Sub(now) > waitStep/2 {
		return nil
	}
	c.deadline = now.Add(waitStep)
	if err := c.watcher.setDeadline(c.deadline); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLPRI}}
	n, err := c.kernel.poll(fds, 0)
	if n > 0 && err == nil && fds[0].Revents&(unix.POLLPRI|unix.POLLERR) == unix.POLLPRI {
		return errors.New("the source of the picture has changed")
	}
	return err
}

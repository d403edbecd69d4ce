//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// followSignal has a receiver of video take what comes in. One for HDMI (a bridge
// to the flat cable, say) and one for analog television measure that, but go on
// with what they were told last: the size of the picture depends on it. Cameras
// know neither request. An error says why there is nothing to receive; a receiver
// that cannot measure goes on as it is.
func (c *v4l2Camera) followSignal() error {
	const asItIs = "it goes on with the HDMI signal that it had before"
	var timings v4l2DVTimings
	err := c.ioctl(vidiocQueryDVTimings, unsafe.Pointer(&timings))
	switch {
	case err == nil:
		return c.optional(c.ioctl(vidiocSDVTimings, unsafe.Pointer(&timings)), asItIs)
	case errors.Is(err, unix.ENOLINK):
		return &advisedError{"no signal: is the HDMI cable plugged in, and what sends the picture switched on?", err}
	case errors.Is(err, unix.ENOLCK):
		return &advisedError{"the HDMI signal is not steady: try another cable", err}
	case errors.Is(err, unix.ERANGE):
		return &advisedError{"the HDMI signal is of a kind that cannot be received: try a smaller resolution where it comes from", err}
	case !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EINVAL):
		return c.optional(err, asItIs)
	}
	// No standard is what a receiver finds that does not know yet, or has no
	// signal. Then it keeps the one it has, as it does when it refuses this one.
	var standard v4l2Std
	if c.ioctl(vidiocQueryStd, unsafe.Pointer(&standard)) == nil && standard != (v4l2Std{}) {
		c.ioctl(vidiocSStd, unsafe.Pointer(&standard))
	}
	return nil
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sensorDrivers are those of the receivers for cameras at the flat cable of a
// Raspberry Pi, up to the 4 and from the 5.
var sensorDrivers = []string{"unicam", "rp1-cfe"}

// setFormat sets the best format the camera has, at about the wanted size.
func (c *v4l2Camera) setFormat(want settings) error {
	offered, err := c.offers()
	if err != nil {
		return err
	}
	if len(offered) == 0 {
		return errors.New("the camera has no picture formats")
	}
	for _, format := range c.formats {
		if !slices.Contains(offered, format) {
			continue
		}
		if done, err := c.tryFormat(format, want); done || err != nil {
			return err
		}
	}
	if slices.Contains(sensorDrivers, c.info.Driver) {
		return errors.New("raw data of a camera at the flat cable, which takes rpicam-vid to make pictures of: sudo apt install rpicam-apps")
	}
	return fmt.Errorf("no picture format in common: the camera has %s, we know %s",
		strings.Join(offered, " "), strings.Join(c.formats, " "))
}

// offers lists the pixel formats the camera has.
func (c *v4l2Camera) offers() ([]string, error) {
	var all []string
	for {
		desc := v4l2FmtDesc{index: uint32(len(all)), typ: bufTypeVideoCapture}
		err := c.ioctl(vidiocEnumFmt, unsafe.Pointer(&desc))
		if errors.Is(err, unix.EINVAL) {
			return all, nil // past the last
		}
		if err != nil {
			return nil, err
		}
		all = append(all, fourcc(desc.pixelFormat))
	}
}

// tryFormat sets a format. The driver grants what it can: the size may be
// another, and if the format is, done is false.
func (c *v4l2Camera) tryFormat(format string, want settings) (done bool, err error) {
	f := v4l2Format{typ: bufTypeVideoCapture}
	f.pix.pixelFormat = fourccCode(format)
	f.pix.width, f.pix.height = c.nearestSize(f.pix.pixelFormat, uint32(want.width), uint32(want.height))
	f.pix.field = fieldAny
	if err := c.ioctl(vidiocSFmt, unsafe.Pointer(&f)); err != nil {
		return false, err
	}
	if fourcc(f.pix.pixelFormat) != format {
		return false, nil
	}
	c.granted(f.pix, want)
	return true, nil
}

// granted notes the format that is set.
func (c *v4l2Camera) granted(pix v4l2PixFormat, want settings) {
	c.pix = pix
	c.info.Format = fourcc(pix.pixelFormat)
	c.info.Width = int(pix.width)
	c.info.Height = int(pix.height)
	if c.info.Format != "MJPG" && c.info.Format != "JPEG" {
		c.encoder = newEncoder(c.info.Format, c.info.Width, c.info.Height, int(pix.bytesPerLine), want.quality, pix.limitedRange())
		c.info.Width = c.encoder.width
	}
}

// rereadFormat asks what the format is by now: there are controls that change
// it, as one that turns the picture by 90 degrees may
// (V4L2_CTRL_FLAG_MODIFY_LAYOUT).
func (c *v4l2Camera) rereadFormat(want settings) error {
	if len(want.set) == 0 {
		return nil
	}
	f := v4l2Format{typ: bufTypeVideoCapture}
	if err := c.ioctl(vidiocGFmt, unsafe.Pointer(&f)); err != nil {
		return err
	}
	if f.pix.pixelFormat != c.pix.pixelFormat {
		return fmt.Errorf("-set has changed the format from %s to %s", c.info.Format, fourcc(f.pix.pixelFormat))
	}
	c.granted(f.pix, want)
	return nil
}

// nearestSize returns the size that the camera has in a format and that is
// nearest to the wanted one. A camera that can have any size, or does not tell
// which, is asked for the wanted one and makes of it what it can.
func (c *v4l2Camera) nearestSize(pixelFormat, width, height uint32) (uint32, uint32) {
	bestWidth, bestHeight := width, height
	best := uint32(math.MaxUint32)
	for i := uint32(0); ; i++ {
		size := v4l2FrmSizeEnum{index: i, pixelFormat: pixelFormat}
		err := c.ioctl(vidiocEnumFrameSizes, unsafe.Pointer(&size))
		if err != nil || size.typ != frmSizeTypeDiscrete {
			return bestWidth, bestHeight
		}
		if off := distance(size.width, width) + distance(size.height, height); off < best {
			best, bestWidth, bestHeight = off, size.width, size.height
		}
	}
}

func distance(a, b uint32) uint32 { return max(a, b) - min(a, b) }

// setRate asks for the frame rate nearest to the wanted one, where there is one
// to ask for, and notes what was granted.
func (c *v4l2Camera) setRate(want settings) error {
	p := v4l2StreamParm{typ: bufTypeVideoCapture}
	if err := c.ioctl(vidiocGParm, unsafe.Pointer(&p)); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return nil // this camera has one rate and does not say which
		}
		return err
	}
	if p.capture.capability&capTimePerFrame != 0 {
		p.capture.timePerFrame = c.nearestInterval(cmp.Or(want.fps, 30))
		if err := c.ioctl(vidiocSParm, unsafe.Pointer(&p)); err != nil {
			return err
		}
	}
	c.info.FPS = p.capture.timePerFrame.rate()
	return nil
}

// nearestInterval returns the time between frames that the camera has and that
// is nearest to the wanted rate; of two as near, the shorter.
func (c *v4l2Camera) nearestInterval(fps float64) v4l2Fract {
	nearest := v4l2Fract{1000, uint32(math.Round(1000 * fps))}
	best := math.Inf(1)
	for i := uint32(0); ; i++ {
		ival := v4l2FrmIvalEnum{index: i, pixelFormat: c.pix.pixelFormat, width: c.pix.width, height: c.pix.height}
		err := c.ioctl(vidiocEnumFrameIntervals, unsafe.Pointer(&ival))
		if err != nil || ival.typ != frmIvalTypeDiscrete {
			return nearest
		}
		off := math.Abs(ival.interval.rate() - fps)
		if off < best || off == best && ival.interval.rate() > nearest.rate() {
			best, nearest = off, ival.interval
		}
	}
}

// rate returns the rate at which something happens in intervals of f seconds;
// 0 if the interval is.
func (f v4l2Fract) rate() float64 {
	if f.numerator == 0 {
		return 0
	}
	return float64(f.denominator) / float64(f.numerator)
}

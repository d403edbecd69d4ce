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

// Lists of drivers that do not end are cut short: a real one has fewer formats,
// and sizes or intervals of one.
const (
	maxFormats = 64
	maxSizes   = 256
)

// setFormat sets the best format the camera has, at about the wanted size. One that
// is refused costs a remark, as long as there is another.
func (c *v4l2Camera) setFormat(want settings) error {
	offered, err := listFormats(c.kernel, c.fd)
	if err != nil && len(offered) == 0 {
		offered = c.formats
	}
	if err := c.optional(err, "it does not tell all its formats"); err != nil {
		return err
	}
	if len(offered) == 0 {
		return noPictureError("the camera has no picture formats")
	}
	var refused error
	for _, format := range c.formats {
		if !slices.Contains(offered, format) {
			continue
		}
		done, err := c.tryFormat(format, want)
		if done {
			return c.optional(refused, "it gives "+format+" for want of a better format")
		}
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENODEV) {
			return err
		}
		refused = cmp.Or(refused, err)
	}
	if refused != nil {
		return refused
	}
	if slices.Contains(sensorDrivers, c.info.Driver) {
		return &advisedError{"raw data of a camera at the flat cable, which takes rpicam-vid to make pictures of: sudo apt install rpicam-apps", nil}
	}
	return noPictureError(fmt.Sprintf("no picture format in common: the camera has %s, we know %s",
		strings.Join(offered, " "), strings.Join(c.formats, " ")))
}

// listFormats lists the pixel formats of a node. An error may come behind some.
func listFormats(k kernel, fd int) ([]string, error) {
	var all []string
	for len(all) < maxFormats {
		desc := v4l2FmtDesc{index: uint32(len(all)), typ: bufTypeVideoCapture}
		err := k.ioctl(fd, vidiocEnumFmt, unsafe.Pointer(&desc))
		if errors.Is(err, unix.EINVAL) {
			break // past the last
		}
		if err != nil {
			return all, err
		}
		all = append(all, fourcc(desc.pixelFormat))
	}
	return all, nil
}

// tryFormat sets a format. The driver grants what it can: the size may be
// another, and if the format is, done is false. Some drivers refuse sizes that
// they list, so others are tried, too, at last the one that is set.
func (c *v4l2Camera) tryFormat(format string, want settings) (done bool, err error) {
	for _, s := range c.nearestSizes(fourccCode(format), uint32(want.width), uint32(want.height)) {
		done, err = c.trySize(format, s, want)
		if err == nil || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENODEV) {
			return done, err
		}
	}
	f := v4l2Format{typ: bufTypeVideoCapture}
	if c.ioctl(vidiocGFmt, unsafe.Pointer(&f)) == nil {
		return c.trySize(format, size{f.pix.width, f.pix.height}, want)
	}
	return false, err
}

func (c *v4l2Camera) trySize(format string, s size, want settings) (done bool, err error) {
	f := v4l2Format{typ: bufTypeVideoCapture}
	f.pix.pixelFormat = fourccCode(format)
	f.pix.width, f.pix.height = s.width, s.height
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
		return c.optional(err, "it is not known whether -set has changed the format")
	}
	if f.pix.pixelFormat != c.pix.pixelFormat {
		return &advisedError{fmt.Sprintf("-set has changed the format from %s to %s", c.info.Format, fourcc(f.pix.pixelFormat)), nil}
	}
	c.granted(f.pix, want)
	return nil
}

// A size is a width and a height in pixels.
type size struct{ width, height uint32 }

// nearestSizes lists the sizes to ask for in a format: those that the camera has
// and that are nearest to the wanted one, the best first. A camera that can have
// any size, or does not tell which, is asked for the wanted one and makes of it
// what it can.
func (c *v4l2Camera) nearestSizes(pixelFormat, width, height uint32) []size {
	const most = 4
	off := func(s size) int64 { return int64(distance(s.width, width)) + int64(distance(s.height, height)) }
	sizes := c.discreteSizes(pixelFormat)
	slices.SortStableFunc(sizes, func(a, b size) int { return cmp.Compare(off(a), off(b)) })
	if len(sizes) == 0 {
		sizes = []size{{width, height}}
	}
	return sizes[:min(len(sizes), most)]
}

// discreteSizes lists the sizes that the camera has in a format; none if it has
// too many to list, or does not say.
func (c *v4l2Camera) discreteSizes(pixelFormat uint32) (sizes []size) {
	for i := range uint32(maxSizes) {
		s := v4l2FrmSizeEnum{index: i, pixelFormat: pixelFormat}
		if err := c.ioctl(vidiocEnumFrameSizes, unsafe.Pointer(&s)); err != nil || s.typ != frmSizeTypeDiscrete {
			break
		}
		sizes = append(sizes, size{s.width, s.height})
	}
	return sizes
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
		return c.optional(err, "its frame rate is not known")
	}
	c.info.FPS = p.capture.timePerFrame.rate()
	if p.capture.capability&capTimePerFrame == 0 {
		return nil
	}
	p.capture.timePerFrame = c.nearestInterval(cmp.Or(want.fps, 30))
	if err := c.ioctl(vidiocSParm, unsafe.Pointer(&p)); err != nil {
		return c.optional(err, "its frame rate stays as it is")
	}
	c.info.FPS = p.capture.timePerFrame.rate()
	return nil
}

// nearestInterval returns the time between frames that the camera has and that
// is nearest to the wanted rate; of two as near, the shorter.
func (c *v4l2Camera) nearestInterval(fps float64) v4l2Fract {
	nearest := v4l2Fract{1000, uint32(math.Round(1000 * fps))}
	best := math.Inf(1)
	for i := range uint32(maxSizes) {
		ival := v4l2FrmIvalEnum{index: i, pixelFormat: c.pix.pixelFormat, width: c.pix.width, height: c.pix.height}
		err := c.ioctl(vidiocEnumFrameIntervals, unsafe.Pointer(&ival))
		if err != nil || ival.typ != frmIvalTypeDiscrete {
			break
		}
		off := math.Abs(ival.interval.rate() - fps)
		if off < best || off == best && ival.interval.rate() > nearest.rate() {
			best, nearest = off, ival.interval
		}
	}
	return nearest
}

// rate returns the rate at which something happens in intervals of f seconds;
// 0 if the interval is.
func (f v4l2Fract) rate() float64 {
	if f.numerator == 0 {
		return 0
	}
	return float64(f.denominator) / float64(f.numerator)
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/v4l2"
)

// v4l2Formats are the pixel formats that we can use, the best first: JPEG comes from the
// camera ready to be sent, and all others cost an encoding per picture. RGB costs most.
var v4l2Formats = fourCCs(
	"MJPG", "JPEG", "YUYV", "UYVY", "NV12", "NM12", "YU12", "YM12",
	"YVYU", "VYUY", "NV21", "NM21", "YV12", "YM21", "NV16", "NM16", "NV61", "NM61",
	"RGB3", "BGR3", "RGBP", "GREY",
)

func fourCCs(letters ...string) (formats []v4l2.FourCC) {
	for _, l := range letters {
		formats = append(formats, v4l2.MakeFourCC(l))
	}
	return formats
}

// sensorDrivers are the drivers of the receivers for cameras at the flat cable of a
// Raspberry Pi, up to the 4 and from the 5.
var sensorDrivers = []string{"unicam", "rp1-cfe"}

// setFormat sets the best format that the camera has, at about the wanted size. A format
// that the driver refuses costs a remark, as long as there is another.
func (c *v4l2Camera) setFormat(want settings) error {
	offered, err := c.device.EnumFormats()
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
	for _, format := range c.orderFormats(offered, want) {
		if !slices.Contains(offered, format) {
			continue
		}
		granted, err := c.tryFormat(format, want)
		if granted {
			return c.optional(refused, fmt.Sprintf("it gives %v for want of a better format", format))
		}
		if isFinal(err) {
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
	return noPictureError(fmt.Sprintf("no picture format in common: the camera has %s, we know %s", join(offered), join(c.formats)))
}

// orderFormats returns the formats that we take, the best of those that are offered first: JPEG,
// unless somebody else is to make it, and then those that the board can make JPEG of.
func (c *v4l2Camera) orderFormats(offered []v4l2.FourCC, want settings) []v4l2.FourCC {
	camera := want.encoder != encoderBoard && want.encoder != encoderOwn
	if !camera || !slices.ContainsFunc(offered, isJPEG) {
		c.encoders = boardEncoders(c.kernel, want)
	}
	rank := func(format v4l2.FourCC) int {
		switch {
		case isJPEG(format) && camera:
			return 0
		case isJPEG(format):
			return 3
		case encodable(c.encoders, format):
			return 1
		}
		return 2
	}
	formats := slices.Clone(c.formats)
	sort.SliceStable(formats, func(i, j int) bool { return rank(formats[i]) < rank(formats[j]) })
	return formats
}

func isJPEG(format v4l2.FourCC) bool {
	return format == v4l2.MakeFourCC("MJPG") || format == v4l2.MakeFourCC("JPEG")
}

func join(formats []v4l2.FourCC) string {
	return strings.Trim(fmt.Sprint(formats), "[]")
}

// isFinal reports whether another format or size would fail as well.
func isFinal(err error) bool {
	return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENODEV)
}

// maxSizesTried is how many of the camera's sizes are tried in a format.
const maxSizesTried = 4

// tryFormat sets a format at the nearest size. The driver grants what it can: another size,
// or another format, in which case granted is false. Some drivers refuse sizes that they
// list, so this tries others, too, and last the one that is set.
func (c *v4l2Camera) tryFormat(format v4l2.FourCC, want settings) (granted bool, err error) {
	wanted := v4l2.FrameSize{Width: want.width, Height: want.height}
	sizes := c.device.EnumFrameSizes(format)
	v4l2.NearestSizes(sizes, wanted)
	if len(sizes) == 0 { // it can have any size, or does not tell
		sizes = []v4l2.FrameSize{wanted}
	}
	for _, size := range sizes[:min(len(sizes), maxSizesTried)] {
		granted, err = c.trySize(format, size, want)
		if err == nil || isFinal(err) {
			return granted, err
		}
	}
	if current, e := c.device.Format(); e == nil {
		return c.trySize(format, current.FrameSize, want)
	}
	return false, err
}

func (c *v4l2Camera) trySize(format v4l2.FourCC, size v4l2.FrameSize, want settings) (granted bool, err error) {
	pix, err := c.device.SetFormat(format, size)
	if err != nil || pix.PixelFormat != format {
		return false, err
	}
	if err := c.useFormat(pix, want); err != nil {
		return false, err
	}
	return true, nil
}

// useFormat notes the format that is set, and makes our encoder for it.
func (c *v4l2Camera) useFormat(pix v4l2.PixFormat, want settings) error {
	c.pix = pix
	c.info.Format = pix.PixelFormat.String()
	c.info.Encoder, c.encoder = encoderCamera, nil
	if isJPEG(pix.PixelFormat) {
		if want.orientation() > 1 {
			c.repair.Orientation = c.orientation
		}
		c.info.Width, c.info.Height = want.turn.size(pix.Width, pix.Height)
		return nil
	}
	own, err := mjpeg.NewEncoder(c.rawFormat(), want.quality)
	if err != nil {
		return fmt.Errorf("the camera's %w", err)
	}
	c.encoder = &encoder{own: own, name: &c.info.Encoder, log: func(line string) { c.log.print(line) }}
	c.info.Encoder = encoderOurs
	c.info.Width, c.info.Height = own.Size()
	return nil
}

// rawFormat returns how raw pictures lie in memory, and how they are to be turned.
func (c *v4l2Camera) rawFormat() mjpeg.RawFormat {
	return mjpeg.RawFormat{
		PixelFormat: c.info.Format, Width: c.pix.Width, Height: c.pix.Height,
		Strides: [3]int(c.pix.BytesPerLine[:3]), LimitedRange: c.pix.LimitedRange, Orientation: c.orientation,
	}
}

// openEncoder opens an encoder of the board, if there is one that takes the raw pictures.
func (c *v4l2Camera) openEncoder(want settings) error {
	if c.encoder == nil {
		return nil
	}
	board, err := openBoardEncoder(c.kernel, c.encoders, c.rawFormat(), want.quality, c.info.FPS)
	switch {
	case err != nil:
		c.remarks = append(c.remarks, fmt.Sprintf("%v: %s encodes the pictures", err, encoderOurs))
	case board != nil:
		c.encoder.board = board
		c.info.Encoder = board.name
	case want.encoder == encoderBoard:
		c.remarks = append(c.remarks, fmt.Sprintf("no encoder of this board takes %s: %s encodes the pictures", c.info.Format, encoderOurs))
	}
	return nil
}

// rereadFormat asks for the format again: some controls change it, as one that turns the
// picture by 90 degrees may (V4L2_CTRL_FLAG_MODIFY_LAYOUT).
func (c *v4l2Camera) rereadFormat(want settings) error {
	if len(want.set) == 0 {
		return nil
	}
	pix, err := c.device.Format()
	if err != nil {
		return c.optional(err, "it is not known whether -set has changed the format")
	}
	if pix.PixelFormat != c.pix.PixelFormat {
		return &advisedError{fmt.Sprintf("-set has changed the format from %v to %v", c.pix.PixelFormat, pix.PixelFormat), nil}
	}
	return c.useFormat(pix, want)
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

// A Control is a control of a Camera.
type Control struct {
	ID, Type, Flags         uint32
	Label                   string
	Min, Max, Step, Default int64
	Menu                    map[uint32]string // by index; nil if it is no menu
	MenuValues              map[uint32]int64  // likewise, of an integer menu
	Value                   int64
	Refuse                  func() error // returns the error of setting it, if not nil
	Changed                 func()       // is called when it is set, if not nil
}

// IDs of controls (V4L2_CID_BRIGHTNESS, V4L2_CID_EXPOSURE_AUTO).
const (
	Brightness   = 0x00980900
	AutoExposure = 0x009a0901
)

// WebcamControls returns the controls of an ordinary USB camera, and one of each other
// type.
func WebcamControls() []*Control {
	auto := &Control{
		ID: AutoExposure, Type: uapi.V4L2_CTRL_TYPE_MENU, Label: "Auto Exposure", Max: 3, Default: 3, Value: 3,
		Menu: map[uint32]string{1: "Manual Mode", 3: "Aperture Priority Mode"},
	}
	manual := func() error {
		if auto.Value != 1 {
			return unix.EACCES
		}
		return nil
	}
	return []*Control{
		{ID: 0x00980001, Type: 6, Flags: uapi.V4L2_CTRL_FLAG_READ_ONLY, Label: "User Controls"}, // V4L2_CTRL_TYPE_CTRL_CLASS
		{ID: Brightness, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Brightness", Max: 255, Step: 1, Default: 128, Value: 128},
		{ID: 0x00980901, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Contrast", Min: -64, Max: 64, Step: 8, Default: -8},
		{ID: 0x00980902, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Flags: uapi.V4L2_CTRL_FLAG_DISABLED, Label: "Saturation", Max: 255, Step: 1},
		{ID: 0x0098090c, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "White Balance, Automatic", Max: 1, Step: 1, Default: 1, Value: 1},
		{ID: 0x0098090d, Type: 4, Label: "Do White Balance", Step: 0}, // V4L2_CTRL_TYPE_BUTTON
		{ID: 0x00980912, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Horizontal Flip", Max: 1, Step: 1},
		{ID: 0x00980924, Type: uapi.V4L2_CTRL_TYPE_BITMASK, Label: "Tests", Max: 0x80000005, Default: 0x80000000},
		{ID: 0x00980925, Type: 7, Label: "Label", Max: 32}, // V4L2_CTRL_TYPE_STRING
		{ID: 0x009a0001, Type: 6, Flags: uapi.V4L2_CTRL_FLAG_READ_ONLY, Label: "Camera Controls"},
		auto,
		{ID: uapi.V4L2_CID_EXPOSURE_ABSOLUTE, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Exposure Time, Absolute", Min: 3, Max: 2047, Step: 1, Default: 250, Value: 250, Refuse: manual},
		{ID: uapi.V4L2_CID_EXPOSURE_AUTO_PRIORITY, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Exposure, Dynamic Framerate", Max: 1, Value: 1},
		{
			ID: 0x009a0917, Type: uapi.V4L2_CTRL_TYPE_INTEGER_MENU, Label: "ISO Sensitivity", Max: 2, Menu: map[uint32]string{},
			MenuValues: map[uint32]int64{0: 2, 1: 5, 2: 1 << 33},
		},
		{ID: 0x009f0902, Type: uapi.V4L2_CTRL_TYPE_INTEGER64, Flags: uapi.V4L2_CTRL_FLAG_READ_ONLY, Label: "Pixel Rate", Max: 1 << 40, Step: 1, Value: 1 << 35},
		{ID: 0x009f0903, Type: uapi.V4L2_CTRL_TYPE_INTEGER64, Label: "Offset", Min: -1 << 63, Max: 1<<63 - 1, Step: 1},
	}
}

// Control returns the control with a name, as v4l2-ctl prints it.
func (c *Camera) Control(name string) *Control {
	return c.Controls[slices.IndexFunc(c.Controls, func(f *Control) bool { return v4l2.ControlName(f.Label) == name })]
}

func (c *Camera) serveControls(request uintptr, arg unsafe.Pointer) error {
	switch request {
	case uapi.VIDIOC_QUERY_EXT_CTRL:
		q := (*uapi.QueryExtCtrl)(arg)
		f, err := c.nextControl(q.ID)
		if err != nil {
			return err
		}
		*q = uapi.QueryExtCtrl{
			ID: f.ID, Type: f.Type, Flags: f.Flags, Minimum: f.Min, Maximum: f.Max, Step: uint64(f.Step), DefaultValue: f.Default,
		}
		copy(q.Name[:], f.Label)
	case uapi.VIDIOC_QUERYCTRL:
		q := (*uapi.QueryCtrl)(arg)
		f, err := c.nextControl(q.ID)
		if err != nil {
			return err
		}
		*q = uapi.QueryCtrl{
			ID: f.ID, Type: f.Type, Flags: f.Flags, Minimum: int32(f.Min), Maximum: int32(f.Max), Step: int32(f.Step), DefaultValue: int32(f.Default),
		}
		copy(q.Name[:], f.Label)
	case uapi.VIDIOC_QUERYMENU:
		return c.serveMenu((*uapi.QueryMenu)(arg))
	default:
		return c.exchange((*uapi.ExtControls)(arg), request == uapi.VIDIOC_S_EXT_CTRLS)
	}
	return nil
}

func (c *Camera) nextControl(id uint32) (*Control, error) {
	for _, f := range c.Controls {
		if id&uapi.V4L2_CTRL_FLAG_NEXT_CTRL != 0 && f.ID > id&^uapi.V4L2_CTRL_FLAG_NEXT_CTRL {
			return f, nil
		}
	}
	return nil, unix.EINVAL
}

func (c *Camera) serveMenu(q *uapi.QueryMenu) error {
	for _, f := range c.Controls {
		if f.ID != q.ID {
			continue
		}
		if value, ok := f.MenuValues[q.Index]; ok {
			binary.NativeEndian.PutUint64(q.Name[:], uint64(value))
			return nil
		}
		if name, ok := f.Menu[q.Index]; ok {
			copy(q.Name[:], name)
			return nil
		}
	}
	return unix.EINVAL
}

// exchange sets or gets one control, as the kernel does: a value that is out of
// range becomes one that is not, except in menus.
func (c *Camera) exchange(all *uapi.ExtControls, set bool) error {
	one := all.Controls
	i := slices.IndexFunc(c.Controls, func(f *Control) bool { return f.ID == one.ID })
	if i < 0 || all.Count != 1 || all.Which != one.ID&0x0fff0000 {
		return unix.EINVAL
	}
	f := c.Controls[i]
	if set {
		value := int64(int32(one.Value[0]))
		if f.Type == uapi.V4L2_CTRL_TYPE_INTEGER64 {
			value = int64(one.Value[1])<<32 | int64(one.Value[0])
		}
		if f.Refuse != nil {
			if err := f.Refuse(); err != nil {
				return err
			}
		}
		if f.Type == uapi.V4L2_CTRL_TYPE_INTEGER {
			value = min(max(value, f.Min), f.Max)
		}
		f.Value = value
		if f.Changed != nil {
			f.Changed()
		}
	}
	one.Value = [2]uint32{uint32(f.Value), uint32(f.Value >> 32)}
	return nil
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A Control is a property of a device that has a value, like its brightness: struct
// v4l2_query_ext_ctrl and its menu.
type Control struct {
	ID    uint32
	Type  ControlType
	Label string // as the driver tells it: "Exposure Time, Absolute"

	// Name is the label as v4l2-ctl prints it, "exposure_time_absolute". A second control
	// of that name is "exposure_time_absolute_2", and one whose label has no letters from
	// a to z and no digits goes by its ID, like "control_980902".
	Name string

	// Limits of the value. A bitmask has no sign, and Max has all the bits it may have.
	Min, Max, Default int64
	Step              uint64 // at least 1

	Menu []MenuItem // the values of a menu

	ReadOnly  bool // V4L2_CTRL_FLAG_READ_ONLY
	WriteOnly bool // V4L2_CTRL_FLAG_WRITE_ONLY
	Inactive  bool // another control has made it void, as an automatic mode does (V4L2_CTRL_FLAG_INACTIVE)
}

// A ControlType is what values a control has.
type ControlType uint32

// Types of controls. There are others, without a value or with a compound one.
const (
	TypeInteger     ControlType = uapi.V4L2_CTRL_TYPE_INTEGER
	TypeBoolean     ControlType = uapi.V4L2_CTRL_TYPE_BOOLEAN
	TypeMenu        ControlType = uapi.V4L2_CTRL_TYPE_MENU
	TypeInteger64   ControlType = uapi.V4L2_CTRL_TYPE_INTEGER64
	TypeBitmask     ControlType = uapi.V4L2_CTRL_TYPE_BITMASK
	TypeIntegerMenu ControlType = uapi.V4L2_CTRL_TYPE_INTEGER_MENU
)

// A MenuItem is a value that a menu can have: struct v4l2_querymenu.
type MenuItem struct {
	Index int64
	Name  string // of an integer menu, the number in decimal
}

// IDs of controls that programs treat in a special way.
const (
	HFlip                uint32 = uapi.V4L2_CID_HFLIP                  // 1: left and right change places
	VFlip                uint32 = uapi.V4L2_CID_VFLIP                  // 1: top and bottom do
	ExposureAbsolute     uint32 = uapi.V4L2_CID_EXPOSURE_ABSOLUTE      // in units of 100 us
	ExposureAutoPriority uint32 = uapi.V4L2_CID_EXPOSURE_AUTO_PRIORITY // 0: the exposure may not lower the frame rate
)

// Limits of lists that do not end. Devices have fewer controls, and the kernel's menus
// have at most 64 items.
const (
	maxControls  = 256
	maxMenuItems = 256
)

// Controls lists the controls that have a single number as their value
// (VIDIOC_QUERY_EXT_CTRL, VIDIOC_QUERYMENU). Any error but ENODEV, the device is gone,
// just ends the list, as it does in v4l2-ctl: some cameras have a control that not even
// the driver can ask about.
func (d *Device) Controls() ([]Control, error) {
	var list []Control
	id := uint32(0)
	for range maxControls {
		q, err := d.queryNextControl(id)
		if errors.Is(err, unix.ENODEV) {
			return nil, err
		}
		if err != nil || q.ID <= id { // the end, or a loop
			break
		}
		id = q.ID
		if q.Flags&uapi.V4L2_CTRL_FLAG_DISABLED == 0 && hasNumber(ControlType(q.Type)) {
			c := d.describe(&q)
			c.Name = uniqueName(c.Name, list)
			list = append(list, c)
		}
	}
	return list, nil
}

// queryNextControl asks for the control with the next ID.
func (d *Device) queryNextControl(id uint32) (uapi.QueryExtCtrl, error) {
	q := uapi.QueryExtCtrl{ID: id | uapi.V4L2_CTRL_FLAG_NEXT_CTRL}
	err := d.ioctl(uapi.VIDIOC_QUERY_EXT_CTRL, unsafe.Pointer(&q))
	if !errors.Is(err, unix.ENOTTY) {
		return q, err
	}
	// Before Linux 3.17.
	old := uapi.QueryCtrl{ID: id | uapi.V4L2_CTRL_FLAG_NEXT_CTRL}
	err = d.ioctl(uapi.VIDIOC_QUERYCTRL, unsafe.Pointer(&old))
	return uapi.QueryExtCtrl{
		ID: old.ID, Type: old.Type, Name: old.Name, Flags: old.Flags,
		Minimum: int64(old.Minimum), Maximum: int64(old.Maximum),
		Step: uint64(old.Step), DefaultValue: int64(old.DefaultValue),
	}, err
}

// queryControl asks for the control with an ID.
func (d *Device) queryControl(id uint32) (uapi.QueryExtCtrl, error) {
	q := uapi.QueryExtCtrl{ID: id}
	err := d.ioctl(uapi.VIDIOC_QUERY_EXT_CTRL, unsafe.Pointer(&q))
	return q, err
}

// hasNumber reports whether controls of a type have a number as their value. Buttons and
// headings have none.
func hasNumber(typ ControlType) bool {
	switch typ {
	case TypeInteger, TypeInteger64, TypeBoolean, TypeBitmask, TypeMenu, TypeIntegerMenu:
		return true
	}
	return false
}

// describe returns the control that the driver has described.
func (d *Device) describe(q *uapi.QueryExtCtrl) Control {
	label := unix.ByteSliceToString(q.Name[:])
	c := Control{
		ID: q.ID, Type: ControlType(q.Type), Label: label,
		Name: cmp.Or(ControlName(label), fmt.Sprintf("control_%x", q.ID)), // a label can be in Chinese
		Min:  q.Minimum, Max: q.Maximum, Step: max(q.Step, 1), Default: q.DefaultValue,
		ReadOnly:  q.Flags&uapi.V4L2_CTRL_FLAG_READ_ONLY != 0,
		WriteOnly: q.Flags&uapi.V4L2_CTRL_FLAG_WRITE_ONLY != 0,
		Inactive:  q.Flags&uapi.V4L2_CTRL_FLAG_INACTIVE != 0,
	}
	if c.Type == TypeBitmask {
		c.Max, c.Default = int64(uint32(c.Max)), int64(uint32(c.Default))
	}
	if c.IsMenu() {
		c.Menu = d.queryMenu(&c)
	} else {
		c.Default = c.nearest(c.Default)
	}
	return c
}

// queryMenu lists the items of a menu. Most menus have gaps.
func (d *Device) queryMenu(c *Control) []MenuItem {
	var menu []MenuItem
	for i := max(c.Min, 0); i <= min(c.Max, maxMenuItems); i++ {
		q := uapi.QueryMenu{ID: c.ID, Index: uint32(i)}
		if d.ioctl(uapi.VIDIOC_QUERYMENU, unsafe.Pointer(&q)) != nil {
			continue
		}
		name := unix.ByteSliceToString(q.Name[:])
		if c.Type == TypeIntegerMenu {
			name = strconv.FormatInt(int64(binary.NativeEndian.Uint64(q.Name[:])), 10)
		}
		menu = append(menu, MenuItem{i, name})
	}
	return menu
}

// ControlName returns a label as v4l2-ctl prints it: in lower case, with an underscore in
// place of everything between letters from a to z and digits.
func ControlName(label string) string {
	between := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return strings.Join(strings.FieldsFunc(strings.ToLower(label), between), "_")
}

// uniqueName returns name, or with a number behind it if a control has that name.
func uniqueName(name string, controls []Control) string {
	unique := name
	for n := 2; slices.ContainsFunc(controls, func(c Control) bool { return c.Name == unique }); n++ {
		unique = fmt.Sprintf("%s_%d", name, n)
	}
	return unique
}

// ControlValue returns the value of a control (VIDIOC_G_EXT_CTRLS). It uses only the
// control's ID and Type; the type may be 0 for one with 32 bits.
func (d *Device) ControlValue(c Control) (int64, error) {
	return d.exchangeControl(uapi.VIDIOC_G_EXT_CTRLS, &c, 0)
}

// SetControlValue sets a control, and returns the value that the driver has made of it
// (VIDIOC_S_EXT_CTRLS). EACCES says that the control can only be read or, with some
// drivers, that it is inactive; ERANGE that the value is not one of its values; and EBUSY
// that another program has the control.
func (d *Device) SetControlValue(c Control, value int64) (granted int64, err error) {
	return d.exchangeControl(uapi.VIDIOC_S_EXT_CTRLS, &c, value)
}

// exchangeControl sends a value and returns the one that comes back.
func (d *Device) exchangeControl(request uintptr, c *Control, value int64) (int64, error) {
	one := uapi.ExtControl{ID: c.ID, Value: [2]uint32{uint32(value), uint32(value >> 32)}}
	all := uapi.ExtControls{Which: c.ID & uapi.V4L2_CTRL_CLASS_MASK, Count: 1, Controls: &one}
	if err := d.ioctl(request, unsafe.Pointer(&all)); err != nil {
		return 0, err
	}
	switch c.Type {
	case TypeInteger64:
		return int64(one.Value[1])<<32 | int64(one.Value[0]), nil
	case TypeBitmask:
		return int64(one.Value[0]), nil
	}
	return int64(int32(one.Value[0])), nil
}

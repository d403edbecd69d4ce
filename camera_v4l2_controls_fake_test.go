//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A fakeControl is a control of the camera of a fakeKernel.
type fakeControl struct {
	id, typ, flags          uint32
	name                    string
	min, max, step, initial int64
	menu                    map[uint32]string // nil: not one
	menuValues              map[uint32]int64  // nil: not one of integers
	value                   int64
	refuse                  func() error // what setting it is to have, if not nil
	changed                 func()       // called when it is set, if not nil
}

const (
	idBrightness   = 0x00980900
	idAutoExposure = 0x009a0901
	idExposureTime = 0x009a0902
)

// webcamControls returns what an ordinary USB camera has, and more.
func webcamControls() []*fakeControl {
	auto := &fakeControl{
		id: idAutoExposure, typ: ctrlTypeMenu, name: "Auto Exposure", max: 3, initial: 3, value: 3,
		menu: map[uint32]string{1: "Manual Mode", 3: "Aperture Priority Mode"},
	}
	manual := func() error {
		if auto.value != 1 {
			return unix.EACCES
		}
		return nil
	}
	return []*fakeControl{
		{id: 0x00980001, typ: 6, flags: ctrlFlagReadOnly, name: "User Controls"}, // V4L2_CTRL_TYPE_CTRL_CLASS
		{id: idBrightness, typ: ctrlTypeInteger, name: "Brightness", max: 255, step: 1, initial: 128, value: 128},
		{id: 0x00980901, typ: ctrlTypeInteger, name: "Contrast", min: -64, max: 64, step: 8, initial: -8},
		{id: 0x00980902, typ: ctrlTypeInteger, flags: ctrlFlagDisabled, name: "Saturation", max: 255, step: 1},
		{id: 0x0098090c, typ: ctrlTypeBoolean, name: "White Balance, Automatic", max: 1, step: 1, initial: 1, value: 1},
		{id: 0x0098090d, typ: 4, name: "Do White Balance", step: 0}, // V4L2_CTRL_TYPE_BUTTON
		{id: 0x00980912, typ: ctrlTypeBoolean, name: "Horizontal Flip", max: 1, step: 1},
		{id: 0x00980924, typ: ctrlTypeBitmask, name: "Tests", max: 0x80000005, initial: 0x80000000},
		{id: 0x00980925, typ: 7, name: "Label", max: 32}, // V4L2_CTRL_TYPE_STRING
		{id: 0x009a0001, typ: 6, flags: ctrlFlagReadOnly, name: "Camera Controls"},
		auto,
		{id: idExposureTime, typ: ctrlTypeInteger, name: "Exposure Time, Absolute", min: 3, max: 2047, step: 1, initial: 250, value: 250, refuse: manual},
		{id: cidExposureAutoPriority, typ: ctrlTypeBoolean, name: "Exposure, Dynamic Framerate", max: 1, value: 1},
		{
			id: 0x009a0917, typ: ctrlTypeIntegerMenu, name: "ISO Sensitivity", max: 2, menu: map[uint32]string{},
			menuValues: map[uint32]int64{0: 2, 1: 5, 2: 1 << 33},
		},
		{id: 0x009f0902, typ: ctrlTypeInteger64, flags: ctrlFlagReadOnly, name: "Pixel Rate", max: 1 << 40, step: 1, value: 1 << 35},
		{id: 0x009f0903, typ: ctrlTypeInteger64, name: "Offset", min: -1 << 63, max: 1<<63 - 1, step: 1},
	}
}

func (k *fakeKernel) control(name string) *fakeControl {
	return k.controls[slices.IndexFunc(k.controls, func(f *fakeControl) bool { return controlName(f.name) == name })]
}

func (k *fakeKernel) serveControls(request uintptr, arg unsafe.Pointer) error {
	switch request {
	case vidiocQueryExtCtrl:
		q := (*v4l2QueryExtCtrl)(arg)
		f, err := k.nextControl(q.id)
		if err != nil {
			return err
		}
		*q = v4l2QueryExtCtrl{
			id: f.id, typ: f.typ, flags: f.flags, minimum: f.min, maximum: f.max, step: uint64(f.step), defaultValue: f.initial,
		}
		copy(q.name[:], f.name)
	case vidiocQueryCtrl:
		q := (*v4l2QueryCtrl)(arg)
		f, err := k.nextControl(q.id)
		if err != nil {
			return err
		}
		*q = v4l2QueryCtrl{
			id: f.id, typ: f.typ, flags: f.flags, minimum: int32(f.min), maximum: int32(f.max), step: int32(f.step), defaultValue: int32(f.initial),
		}
		copy(q.name[:], f.name)
	case vidiocQueryMenu:
		return k.serveMenu((*v4l2QueryMenu)(arg))
	default:
		return k.exchange((*v4l2ExtControls)(arg), request == vidiocSExtCtrls)
	}
	return nil
}

func (k *fakeKernel) nextControl(id uint32) (*fakeControl, error) {
	for _, f := range k.controls {
		if id&ctrlFlagNextCtrl != 0 && f.id > id&^ctrlFlagNextCtrl {
			return f, nil
		}
	}
	return nil, unix.EINVAL
}

func (k *fakeKernel) serveMenu(q *v4l2QueryMenu) error {
	for _, f := range k.controls {
		if f.id != q.id {
			continue
		}
		if value, ok := f.menuValues[q.index]; ok {
			binary.NativeEndian.PutUint64(q.name[:], uint64(value))
			return nil
		}
		if name, ok := f.menu[q.index]; ok {
			copy(q.name[:], name)
			return nil
		}
	}
	return unix.EINVAL
}

// exchange sets or gets one control, as the kernel does: a value that is out of
// range becomes one that is not, except in menus.
func (k *fakeKernel) exchange(all *v4l2ExtControls, set bool) error {
	one := all.controls
	i := slices.IndexFunc(k.controls, func(f *fakeControl) bool { return f.id == one.id })
	if i < 0 || all.count != 1 || all.which != one.id&0x0fff0000 {
		return unix.EINVAL
	}
	f := k.controls[i]
	if set {
		value := int64(int32(one.value[0]))
		if f.typ == ctrlTypeInteger64 {
			value = int64(one.value[1])<<32 | int64(one.value[0])
		}
		if f.refuse != nil {
			if err := f.refuse(); err != nil {
				return err
			}
		}
		if f.typ == ctrlTypeInteger {
			value = min(max(value, f.min), f.max)
		}
		f.value = value
		if f.changed != nil {
			f.changed()
		}
	}
	one.value = [2]uint32{uint32(f.value), uint32(f.value >> 32)}
	return nil
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// menuLimit is how long a menu is believed to be. The kernel's have at most 64
// entries.
const menuLimit = 256

// A control is something about a camera that can be set: its brightness, say.
type control struct {
	id    uint32
	typ   uint32 // ctrlTypeInteger and so on
	flags uint32 // ctrlFlagReadOnly and so on
	label string // "Exposure Time, Absolute"
	name  string // as v4l2-ctl prints it: "exposure_time_absolute"; no other has it

	// The value, in which a bitmask has 32 bits and no sign.
	min, max, initial int64
	step              uint64

	menu []menuEntry
}

// An assignment is a control and what it is to be.
type assignment struct {
	control
	value int64
	given controlSetting // what -set said
}

// setGiven sets the controls that are wanted, after it has checked that all
// of them can be what they are to be.
func (c *v4l2Camera) setGiven(want settings) error {
	c.steadyRate = want.fps > 0
	if len(want.set) > 0 {
		controls, err := c.controls()
		if err != nil {
			return err
		}
		if c.assignments, err = assign(controls, want.set); err != nil {
			return &advisedError{err.Error(), nil}
		}
	}
	if err := c.applyControls(); err != nil {
		return &advisedError{err.Error(), err}
	}
	return nil
}

// assign finds the controls that are to be set.
func assign(controls []control, set []controlSetting) ([]assignment, error) {
	var all []assignment
	for _, given := range set {
		a, err := given.find(controls)
		if err == nil {
			all = append(all, a)
		} else if !given.byViewer {
			return nil, err
		}
	}
	return all, nil
}

// applyControls makes all assignments twice. The first time, an automatic mode
// that is yet to be switched off may refuse one, or overwrite it later.
func (c *v4l2Camera) applyControls() error {
	if c.steadyRate {
		// An error says that the camera has no such control.
		c.setControl(control{id: cidExposureAutoPriority}, 0)
	}
	for _, a := range c.assignments {
		c.setControl(a.control, a.value)
	}
	for _, a := range c.assignments {
		if err := c.setControl(a.control, a.value); err != nil && !a.given.byViewer {
			return a.refused(err)
		}
	}
	return nil
}

// refused says what the driver's err is about. The numbers of two of them stand
// for something else when the camera itself is refused, and are left out.
func (a *assignment) refused(err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%v: an automatic mode has this control: switch that off, too", a.given)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%v: another program has this control", a.given)
	}
	return fmt.Errorf("%v: %w", a.given, err)
}

// maxControls is more than any camera has.
const maxControls = 1024

// controls lists the controls of the camera that have a value. Any error ends the
// list, as it does in v4l2-ctl: some cameras have a control that not even the
// driver can ask about.
func (c *v4l2Camera) controls() ([]control, error) {
	var list []control
	id := uint32(0)
	for range maxControls {
		q, err := c.nextControl(id)
		if errors.Is(err, unix.ENODEV) {
			return nil, err
		}
		if err != nil || q.id <= id { // the end, or a loop
			break
		}
		id = q.id
		if q.flags&ctrlFlagDisabled == 0 && hasValue(q.typ) {
			d := c.describe(&q)
			d.name = unusedName(d.name, list)
			list = append(list, d)
		}
	}
	return list, nil
}

// nextControl asks about the control that comes after id.
func (c *v4l2Camera) nextControl(id uint32) (v4l2QueryExtCtrl, error) {
	q := v4l2QueryExtCtrl{id: id | ctrlFlagNextCtrl}
	err := c.ioctl(vidiocQueryExtCtrl, unsafe.Pointer(&q))
	if !errors.Is(err, unix.ENOTTY) {
		return q, err
	}
	// Before Linux 3.17.
	old := v4l2QueryCtrl{id: id | ctrlFlagNextCtrl}
	err = c.ioctl(vidiocQueryCtrl, unsafe.Pointer(&old))
	return v4l2QueryExtCtrl{
		id: old.id, typ: old.typ, name: old.name, flags: old.flags,
		minimum: int64(old.minimum), maximum: int64(old.maximum),
		step: uint64(old.step), defaultValue: int64(old.defaultValue),
	}, err
}

// hasValue reports whether controls of a type have a value that we know to set.
// Buttons and headings have none.
func hasValue(typ uint32) bool {
	switch typ {
	case ctrlTypeInteger, ctrlTypeInteger64, ctrlTypeBoolean, ctrlTypeBitmask, ctrlTypeMenu, ctrlTypeIntegerMenu:
		return true
	}
	return false
}

// describe returns the control that the driver has described.
func (c *v4l2Camera) describe(q *v4l2QueryExtCtrl) control {
	label := driverText(q.name[:])
	name := cmp.Or(controlName(label), fmt.Sprintf("control_%x", q.id)) // a label can be in Chinese
	d := control{
		id: q.id, typ: q.typ, flags: q.flags, label: cmp.Or(label, name), name: name,
		min: q.minimum, max: q.maximum, step: max(q.step, 1), initial: q.defaultValue,
	}
	if d.typ == ctrlTypeBitmask {
		d.max, d.initial = int64(uint32(d.max)), int64(uint32(d.initial))
	}
	if d.isMenu() {
		d.menu = c.menu(&d)
	} else {
		d.initial = d.nearest(d.initial)
	}
	return d
}

// nearest returns the value that a driver sets when it is asked for another: some
// cameras have a default that is out of range, or between two steps.
func (d *control) nearest(value int64) int64 {
	if d.typ == ctrlTypeBitmask {
		return value & d.max
	}
	value = min(max(value, d.min), d.max)
	above := (uint64(value) - uint64(d.min)) % d.step
	value -= int64(above)
	if above >= d.step-above && uint64(d.max)-uint64(value) >= d.step {
		value += int64(d.step)
	}
	return value
}

// hasDefault reports whether the control can be what the driver says is its default:
// of some menus that is not an entry.
func (d *control) hasDefault() bool { return d.allows(d.initial) }

// menu lists the entries of a menu. Most have gaps.
func (c *v4l2Camera) menu(d *control) []menuEntry {
	var menu []menuEntry
	for i := max(d.min, 0); i <= min(d.max, menuLimit); i++ {
		q := v4l2QueryMenu{id: d.id, index: uint32(i)}
		if c.ioctl(vidiocQueryMenu, unsafe.Pointer(&q)) != nil {
			continue
		}
		name := driverText(q.name[:])
		if d.typ == ctrlTypeIntegerMenu {
			name = strconv.FormatInt(int64(binary.NativeEndian.Uint64(q.name[:])), 10)
		}
		menu = append(menu, menuEntry{i, name})
	}
	return menu
}

// controlName returns a name as v4l2-ctl prints it: in lower case, and with one
// underscore for all that is between letters and digits.
func controlName(name string) string {
	between := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), between), "_")
}

// unusedName returns name, or with a number behind it if another control has it:
// "brightness_2".
func unusedName(name string, controls []control) string {
	unused := name
	for n := 2; slices.ContainsFunc(controls, func(d control) bool { return d.name == unused }); n++ {
		unused = fmt.Sprintf("%s_%d", name, n)
	}
	return unused
}

// find returns the assignment that was given, to one of the controls.
func (s controlSetting) find(controls []control) (assignment, error) {
	i := slices.IndexFunc(controls, func(d control) bool { return d.name == controlName(s.name) })
	if i < 0 {
		return assignment{}, fmt.Errorf("no control %q: it has %s", s.name, controlNames(controls))
	}
	d := controls[i]
	if d.flags&ctrlFlagReadOnly != 0 {
		return assignment{}, fmt.Errorf("%v: this control can only be read", s)
	}
	value, ok := d.parse(s.value)
	if !ok {
		return assignment{}, fmt.Errorf("%v: must be %s", s, d.choice())
	}
	return assignment{d, value, s}, nil
}

// controlNames lists in words the controls that can be set.
func controlNames(controls []control) string {
	var names []string
	for _, d := range controls {
		if d.flags&ctrlFlagReadOnly == 0 {
			names = append(names, d.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (d *control) isMenu() bool {
	return d.typ == ctrlTypeMenu || d.typ == ctrlTypeIntegerMenu
}

// parse returns the value that a text stands for: a number or, if there is no
// such one, a word. The entries of an integer menu are both.
func (d *control) parse(text string) (value int64, ok bool) {
	if n, ok := wholeNumber(text); ok && d.allows(n) {
		return n, true
	}
	return d.word(strings.ToLower(text))
}

// wholeNumber returns the whole number that a text is, also one that programs have
// made a fraction or a power of ten of: "140.0", "1.4e2".
func wholeNumber(text string) (n int64, ok bool) {
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return n, true
	}
	const exact = 1 << 53 // up to here a float64 is
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > exact {
		return 0, false
	}
	return int64(f), true
}

// allows reports whether the control can have a value.
func (d *control) allows(value int64) bool {
	switch {
	case d.isMenu():
		return slices.ContainsFunc(d.menu, func(e menuEntry) bool { return e.Index == value })
	case d.typ == ctrlTypeBitmask:
		return value&^d.max == 0
	}
	return value >= d.min && value <= d.max && (uint64(value)-uint64(d.min))%d.step == 0
}

// word returns the value that a word in lower case stands for.
func (d *control) word(word string) (value int64, ok bool) {
	boolean := d.typ == ctrlTypeBoolean
	switch {
	case word == "default" && d.hasDefault():
		return d.initial, true
	case boolean && (word == "on" || word == "true"):
		return 1, true
	case boolean && (word == "off" || word == "false"):
		return 0, true
	}
	for _, e := range d.menu {
		if strings.ToLower(e.Name) == word {
			return e.Index, true
		}
	}
	return 0, false
}

// choice says in words what the control can be.
func (d *control) choice() string {
	switch {
	case d.isMenu():
		var entries []string
		for _, e := range d.menu {
			entries = append(entries, fmt.Sprintf("%d (%s)", e.Index, e.Name))
		}
		choice := "one of " + strings.Join(entries, ", ")
		if !d.hasDefault() {
			choice += " (no default)"
		}
		return choice
	case d.typ == ctrlTypeBoolean && d.initial == 0:
		return "on or off (default off)"
	case d.typ == ctrlTypeBoolean:
		return "on or off (default on)"
	case d.typ == ctrlTypeBitmask:
		return fmt.Sprintf("a number with no bits but those of %#x (default %#x)", d.max, d.initial)
	}
	return fmt.Sprintf("from %d to %d in steps of %d (default %d)", d.min, d.max, d.step, d.initial)
}

// setControl sets a control. The driver may make another value of it.
func (c *v4l2Camera) setControl(d control, value int64) error {
	granted, err := c.exchangeControl(vidiocSExtCtrls, &d, value)
	if err == nil && d.id == cidExposureAbsolute {
		c.noteExposure(granted)
	}
	return err
}

// getControl returns the value of a control.
func (c *v4l2Camera) getControl(d control) (int64, error) {
	return c.exchangeControl(vidiocGExtCtrls, &d, 0)
}

// exchangeControl sends a value and returns the one that comes back.
func (c *v4l2Camera) exchangeControl(request uintptr, d *control, value int64) (int64, error) {
	one := v4l2ExtControl{id: d.id, value: [2]uint32{uint32(value), uint32(value >> 32)}}
	all := v4l2ExtControls{which: d.id & ctrlClassMask, count: 1, controls: &one}
	if err := c.ioctl(request, unsafe.Pointer(&all)); err != nil {
		return 0, err
	}
	switch d.typ {
	case ctrlTypeInteger64:
		return int64(one.value[1])<<32 | int64(one.value[0]), nil
	case ctrlTypeBitmask:
		return int64(one.value[0]), nil
	}
	return int64(int32(one.value[0])), nil
}

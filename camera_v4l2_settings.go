//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
)

// firmwareDriver is the name of the driver for the camera that the firmware of a
// Raspberry Pi runs (bm2835-v4l2, in drivers/staging/vc04_services/bcm2835-camera).
const firmwareDriver = "bm2835 mmal"

// followSignal sets a receiver of video to the signal that comes in. Cameras know neither
// request. An error says why there is nothing to receive. A receiver that cannot measure
// goes on as it is.
func (c *v4l2Camera) followSignal(settings) error {
	const asItIs = "it goes on with the HDMI signal that it had before"
	timings, err := c.device.QueryDVTimings()
	switch {
	case err == nil:
		return c.optional(c.device.SetDVTimings(timings), asItIs)
	case errors.Is(err, unix.ENOLINK):
		return &advisedError{"no signal: is the HDMI cable plugged in, and what sends the picture switched on?", err}
	case errors.Is(err, unix.ENOLCK):
		return &advisedError{"the HDMI signal is not steady: try another cable", err}
	case errors.Is(err, unix.ERANGE):
		return &advisedError{"the HDMI signal is of a kind that cannot be received: try a smaller resolution where it comes from", err}
	case !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EINVAL):
		return c.optional(err, asItIs)
	}
	// A receiver that finds no standard, or refuses this one, keeps the one it has.
	if standard, err := c.device.QueryStd(); err == nil && standard != (v4l2.Std{}) {
		c.device.SetStd(standard)
	}
	return nil
}

// optional turns an error of a request that the camera can do without into a remark about
// what it costs. It stays an error if the camera is gone.
func (c *v4l2Camera) optional(err error, cost string) error {
	if err == nil || errors.Is(err, unix.ENODEV) {
		return err
	}
	c.remarks = append(c.remarks, fmt.Sprintf("%s: %s: %v", c.device.Path(), cost, err))
	return nil
}

// setLog logs the remarks, and later when our encoder takes over.
func (c *v4l2Camera) setLog(log func(line string)) {
	c.log = log
	for _, remark := range c.remarks {
		log(remark)
	}
}

// choices asks the driver what there is to choose. What it does not tell is left out.
func (c *v4l2Camera) choices() choices {
	controls, _ := c.controls()
	ch := choices{
		Rates:   c.rates(),
		Encodes: c.encoder != nil || c.info.Driver == firmwareDriver,
		check:   func(set []controlSetting) error { return checkControls(controls, set) },
	}
	for _, s := range c.device.EnumFrameSizes(c.pix.PixelFormat) {
		ch.Sizes = append(ch.Sizes, fmt.Sprintf("%dx%d", s.Width, s.Height))
	}
	for _, control := range controls {
		if control.Type == v4l2.TypeBitmask {
			continue
		}
		value, err := c.device.ControlValue(control)
		if err != nil { // it can be set all the same
			control.WriteOnly = true
			value = control.Default
		}
		ch.Controls = append(ch.Controls, newControlState(control, value))
	}
	return ch
}

// checkControls says what is wrong with settings.
func checkControls(controls []v4l2.Control, set []controlSetting) error {
	for _, given := range set {
		if _, err := newAssignment(controls, given); err != nil {
			return err
		}
	}
	return nil
}

// newControlState describes a control to those who may want to set it.
func newControlState(c v4l2.Control, value int64) controlState {
	s := controlState{
		Name: c.Name, Label: c.Label, Type: "int",
		Min: c.Min, Max: c.Max, Step: c.Step, Value: value,
		Inactive: c.Inactive, ReadOnly: c.ReadOnly, WriteOnly: c.WriteOnly,
	}
	switch {
	case c.IsMenu():
		s.Type = "menu"
	case c.Type == v4l2.TypeBoolean:
		s.Type = "bool"
	}
	for _, item := range c.Menu {
		s.Menu = append(s.Menu, menuEntry(item))
	}
	if c.HasDefault() {
		s.Default = &c.Default
	}
	return s
}

// controls lists the camera's controls, with names that can be shown. Those that turn pictures are
// not for others to set.
func (c *v4l2Camera) controls() ([]v4l2.Control, error) {
	controls, err := c.device.Controls()
	for i := range controls {
		control := &controls[i]
		ours := func(a assignment) bool { return a.control.ID == control.ID }
		control.ReadOnly = control.ReadOnly || slices.ContainsFunc(c.flips, ours)
		control.Label = cmp.Or(printable(control.Label), control.Name)
		for j := range control.Menu {
			control.Menu[j].Name = printable(control.Menu[j].Name)
		}
	}
	return controls, err
}

// An assignment is a control and the value to set it to.
type assignment struct {
	control v4l2.Control
	value   int64
	given   controlSetting // as it was asked for
}

// setWantedControls sets the controls that were asked for, after it has checked all of them.
func (c *v4l2Camera) setWantedControls(want settings) error {
	c.fps = want.fps
	if len(want.set) > 0 {
		controls, err := c.controls()
		if err != nil {
			return err
		}
		if c.assignments, err = assignKnown(controls, want.set); err != nil {
			return &advisedError{err.Error(), nil}
		}
	}
	if err := c.applyControls(); err != nil {
		return &advisedError{err.Error(), err}
	}
	return nil
}

// applyControls makes all assignments twice. The first time, an automatic mode that is
// still on may refuse a value, or overwrite it when it is switched off.
func (c *v4l2Camera) applyControls() error {
	if c.fps > 0 {
		// A camera that runs faster than it was asked to may take its time in the dark. An
		// error says that it has no such control.
		var dynamic int64
		if c.fps < slowRate {
			dynamic = 1
		}
		c.device.SetControlValue(v4l2.Control{ID: v4l2.ExposureAutoPriority}, dynamic)
	}
	c.assignAll(c.flips)
	c.assignAll(c.assignments)
	for _, a := range c.assignments {
		if err := c.assign(a); err != nil && !a.given.byViewer {
			return err
		}
	}
	return nil
}

// setControls sets controls of the camera while it runs: twice, as applyControls does. If
// a control is refused all the same, all get back the values that they had.
func (c *v4l2Camera) setControls(set []controlSetting) error {
	controls, err := c.controls()
	if err != nil {
		return explainV4L2(c.device.Path(), err)
	}
	wanted, err := assignKnown(controls, set)
	if err != nil {
		return err
	}
	var before []assignment
	for _, a := range wanted {
		value, err := c.device.ControlValue(a.control)
		if err == nil { // others cannot be undone
			before = append(before, assignment{a.control, value, a.given})
		}
	}
	c.assignAll(wanted)
	if err := c.assignAll(wanted); err != nil {
		slices.Reverse(before)
		c.assignAll(before)
		return explainV4L2(c.device.Path(), err)
	}
	return nil
}

// assignAll makes all assignments. It returns the first error.
func (c *v4l2Camera) assignAll(assignments []assignment) (first error) {
	for _, a := range assignments {
		if err := c.assign(a); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// assign makes an assignment. The driver may make another value of it. EACCES and EBUSY
// stand for something else when the driver refuses the camera itself, so the errors here
// do not match them.
func (c *v4l2Camera) assign(a assignment) error {
	granted, err := c.device.SetControlValue(a.control, a.value)
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%v: an automatic mode has this control: switch that off, too", a.given)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%v: another program has this control", a.given)
	case err != nil:
		return fmt.Errorf("%v: %w", a.given, err)
	}
	if a.control.ID == v4l2.ExposureAbsolute {
		c.noteExposure(granted)
	}
	return nil
}

// assignKnown returns the assignments for settings. It leaves out those of a viewer that
// do not suit these controls: another camera than the one that the viewer has set need not
// have them.
func assignKnown(controls []v4l2.Control, set []controlSetting) ([]assignment, error) {
	var all []assignment
	for _, given := range set {
		a, err := newAssignment(controls, given)
		if err == nil {
			all = append(all, a)
		} else if !given.byViewer {
			return nil, err
		}
	}
	return all, nil
}

// newAssignment returns the assignment for a setting, or says what is wrong with it.
func newAssignment(controls []v4l2.Control, given controlSetting) (assignment, error) {
	i := slices.IndexFunc(controls, func(c v4l2.Control) bool { return c.Name == v4l2.ControlName(given.name) })
	if i < 0 {
		return assignment{}, fmt.Errorf("no control %q: it has %s", given.name, settableNames(controls))
	}
	if controls[i].ReadOnly {
		return assignment{}, fmt.Errorf("%v: this control can only be read", given)
	}
	value, err := controls[i].Parse(given.value)
	if err != nil {
		return assignment{}, fmt.Errorf("%v: %w", given, err)
	}
	return assignment{controls[i], value, given}, nil
}

// settableNames lists the names of the controls that can be set.
func settableNames(controls []v4l2.Control) string {
	var names []string
	for _, c := range controls {
		if !c.ReadOnly {
			names = append(names, c.Name)
		}
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

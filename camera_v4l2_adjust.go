//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"fmt"
	"slices"
	"unsafe"
)

// choices asks the driver what there is to choose. What it does not tell is left
// out.
func (c *v4l2Camera) choices() choices {
	controls, _ := c.controls()
	ch := choices{
		Sizes:   c.sizes(),
		Rates:   c.rates(),
		Encodes: c.encoder != nil || c.info.Driver == firmwareDriver,
		check:   func(set []controlSetting) error { return checkControls(controls, set) },
	}
	for _, d := range controls {
		if d.typ == ctrlTypeBitmask {
			continue
		}
		value, err := c.getControl(d)
		if err != nil { // it can be set all the same
			d.flags |= ctrlFlagWriteOnly
			value = d.initial
		}
		ch.Controls = append(ch.Controls, d.state(value))
	}
	return ch
}

// sizes lists the sizes of the format that is set; none if there are too many to
// list, or the driver does not say.
func (c *v4l2Camera) sizes() (sizes []string) {
	for _, s := range c.discreteSizes(c.pix.pixelFormat) {
		sizes = append(sizes, fmt.Sprintf("%dx%d", s.width, s.height))
	}
	return sizes
}

// rates lists the rates that the format and size which are set can have, to
// hundredths, the highest first.
func (c *v4l2Camera) rates() (rates []float64) {
	for i := range uint32(maxSizes) {
		ival := v4l2FrmIvalEnum{index: i, pixelFormat: c.pix.pixelFormat, width: c.pix.width, height: c.pix.height}
		err := c.ioctl(vidiocEnumFrameIntervals, unsafe.Pointer(&ival))
		if err != nil || ival.typ != frmIvalTypeDiscrete {
			break
		}
		rate := roundRate(ival.interval.rate())
		if rate > 0 && rate <= maxRate && !slices.Contains(rates, rate) {
			rates = append(rates, rate)
		}
	}
	slices.Sort(rates)
	slices.Reverse(rates)
	return rates
}

// state describes the control to those who may want to set it.
func (d *control) state(value int64) controlState {
	kind := "int"
	switch {
	case d.isMenu():
		kind = "menu"
	case d.typ == ctrlTypeBoolean:
		kind = "bool"
	}
	s := controlState{
		Name: d.name, Label: d.label, Type: kind,
		Min: d.min, Max: d.max, Step: d.step, Value: value, Menu: d.menu,
		Inactive: d.flags&ctrlFlagInactive != 0,
		ReadOnly: d.flags&ctrlFlagReadOnly != 0, WriteOnly: d.flags&ctrlFlagWriteOnly != 0,
	}
	if d.hasDefault() {
		s.Default = &d.initial
	}
	return s
}

// checkControls reports what is wrong with settings.
func checkControls(controls []control, set []controlSetting) error {
	for _, given := range set {
		if _, err := given.find(controls); err != nil {
			return err
		}
	}
	return nil
}

// setControls sets controls of the camera while it runs: twice, as when it is opened,
// for an automatic mode that is yet to be switched off may refuse one. When that
// does not help, all get back the values that they had.
func (c *v4l2Camera) setControls(set []controlSetting) error {
	controls, err := c.controls()
	if err != nil {
		return advise(c.path, err)
	}
	wanted, err := assign(controls, set)
	if err != nil {
		return err
	}
	var before []assignment
	for _, a := range wanted {
		value, err := c.getControl(a.control)
		if err == nil { // others cannot be undone
			before = append(before, assignment{a.control, value, a.given})
		}
	}
	c.setAll(wanted)
	if refused, err := c.setAll(wanted); err != nil {
		slices.Reverse(before)
		c.setAll(before)
		return advise(c.path, refused.refused(err))
	}
	return nil
}

// setAll makes all assignments. It returns the first that was refused, and why.
func (c *v4l2Camera) setAll(assignments []assignment) (refused assignment, err error) {
	for _, a := range assignments {
		if e := c.setControl(a.control, a.value); e != nil && err == nil {
			refused, err = a, e
		}
	}
	return refused, err
}

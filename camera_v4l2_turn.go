//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"fmt"
	"slices"

	"porthole/v4l2"
)

// turnItself has the camera turn its pictures, if its controls can do the whole of it and the user
// has not set one of them. What is left to do is the orientation. Controls that nobody asks us to
// set stay as another program left them.
func (c *v4l2Camera) turnItself(want settings) error {
	c.orientation = want.orientation()
	h, v, ok := want.flips()
	if !ok {
		return nil
	}
	controls, err := c.device.Controls()
	if err != nil {
		return err
	}
	for _, control := range controls {
		given := func(s controlSetting) bool { return v4l2.ControlName(s.name) == control.Name }
		value := h
		if control.ID == v4l2.VFlip {
			value = v
		}
		isFlip := control.ID == v4l2.HFlip || control.ID == v4l2.VFlip
		if isFlip && !control.ReadOnly && !slices.ContainsFunc(want.set, given) {
			c.flips = append(c.flips, assignment{control, value, controlSetting{name: control.Name, value: fmt.Sprint(value)}})
		}
	}
	if len(c.flips) < 2 {
		c.flips = nil
		return nil
	}
	if err := c.assignAll(c.flips); err != nil {
		c.unflip()
		c.flips = nil
		return c.optional(err, "it does not flip its pictures itself")
	}
	c.orientation = 1
	return nil
}

// unflip undoes what turnItself did, so that the camera does not stay so when nobody asks for it
// any more.
func (c *v4l2Camera) unflip() {
	for i := range c.flips {
		c.flips[i].value = 0
	}
	c.assignAll(c.flips)
}

// Close stops the camera before it is unflipped: some drivers do not allow that while it runs.
func (c *v4l2Camera) Close() error {
	if c.encoder != nil {
		c.encoder.Close()
	}
	err := c.device.ReleaseBuffers()
	c.unflip()
	return errors.Join(err, c.device.Close())
}

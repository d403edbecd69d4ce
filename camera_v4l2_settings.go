//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
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
	slices.SortStableFunc(formats, func(a, b v4l2.FourCC) int { return rank(a) - rank(b) })
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
	c.encoder = &encoder{own: own, lost: c.noteEncoderLost}
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

// noteEncoderLost notes that our encoder has taken over from the board's.
func (c *v4l2Camera) noteEncoderLost(why error) {
	c.info.Encoder = encoderOurs
	if c.log != nil {
		c.log(why.Error())
	}
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

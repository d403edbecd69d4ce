//go:build linux && (arm || arm64)

package main

import (
	"slices"
	"strconv"
	"strings"

	"porthole/v4l2"
)

// A piControl is a control of the camera at the flat cable: an option of rpicam-vid under the
// name that V4L2 has for it, or else under its own.
type piControl struct {
	v4l2.Control
	option string // "--brightness", or "--hdr=" for one that takes its word in no other way

	// What the option takes: a word for each item of a menu, with "" for one that takes no
	// option at all, or the value times mul, divided by div. A switch takes nothing.
	words    []string
	mul, div int64

	// auto is the automatic mode that has this control unless it is set to manual, or "".
	auto   string
	manual int64
}

// Controls that are more than an option.
const (
	modeControl  = "mode"
	autoExposure = "auto_exposure"
	exposureTime = "exposure_time_absolute"
	autoFocus    = "focus_automatic_continuous"
	whiteBalance = "white_balance_auto_preset"
	redBalance   = "red_balance"
	blueBalance  = "blue_balance"
	rotate       = "rotate"
	hflip        = "horizontal_flip"
	vflip        = "vertical_flip"
)

// lensSensors have a lens that can be moved.
var lensSensors = []string{"imx708", "imx519", "ov64a40"}

// piControls lists the controls of a camera. Units are those of V4L2, or of the firmware's driver (bm2835 mmal): 100 us of exposure, thousandths
// of a colour's gain and of an EV. Others are per cent of what rpicam-vid calls 1.0, and the
// lens hundredths of a dioptre: 0 is focused at infinity, 100 at 1 m and 1000 at 10 cm.
func piControls(s *piSensor) (controls []*piControl) {
	all := []*piControl{
		menuControl("Auto Exposure", "--shutter", 0, "Auto Mode", "Manual Mode"),
		numberControl("Exposure Time, Absolute", "--shutter", 1, 10_000, 100, 100, 1).unless(autoExposure, 1),
		numberControl("Analogue Gain", "--gain", 0, 6400, 0, 1, 100).relabeled("Analogue Gain, 0 for Automatic"),
		numberControl("Auto Exposure, Bias", "--ev", -4000, 4000, 0, 1, 1000),
		menuControl("Exposure, Metering Mode", "--metering", 1, "Average", "Center Weighted", "Spot").taking("average", "centre", "spot"),
		menuControl("Exposure", "--exposure", 0, "normal", "sport", "long").relabeled("Exposure Mode"),
		menuControl("Power Line Frequency", "--flicker-period", 0, "Disabled", "50 Hz", "60 Hz").taking("", "10000us", "8333us"),
		menuControl("White Balance, Auto & Preset", "--awb", 1,
			"Manual", "Auto", "Incandescent", "Fluorescent", "", "", "Daylight", "", "Cloudy", "", "", "Tungsten", "Indoor",
		).taking("", "auto", "incandescent", "fluorescent", "", "", "daylight", "", "cloudy", "", "", "tungsten", "indoor"),
		numberControl("Red Balance", "--awbgains", 1, 7999, 1000, 1, 1000).unless(whiteBalance, 0),
		numberControl("Blue Balance", "--awbgains", 1, 7999, 1000, 1, 1000).unless(whiteBalance, 0),
		numberControl("Brightness", "--brightness", -100, 100, 0, 1, 100),
		numberControl("Contrast", "--contrast", 0, 400, 100, 1, 100),
		numberControl("Saturation", "--saturation", 0, 400, 100, 1, 100),
		numberControl("Sharpness", "--sharpness", 0, 1500, 100, 1, 100),
		menuControl("Denoise", "--denoise", 0, "auto", "off", "cdn_off", "cdn_fast", "cdn_hq"),
		menuControl("HDR", "--hdr=", 0, "off", "auto", "sensor", "single-exp"),
		switchControl("Focus, Automatic Continuous", "--autofocus-mode", 1).taking("manual", "continuous"),
		numberControl("Focus, Absolute", "--lens-position", 0, 1500, 100, 1, 100).unless(autoFocus, 0),
		menuControl("Auto Focus, Range", "--autofocus-range", 1, "Auto", "Normal", "Macro").taking("full", "normal", "macro"),
		menuControl("Autofocus Speed", "--autofocus-speed", 0, "normal", "fast"),
		rotateControl(),
		switchControl("Horizontal Flip", "--hflip", 0),
		switchControl("Vertical Flip", "--vflip", 0),
	}
	hasLens := slices.ContainsFunc(lensSensors, func(name string) bool { return strings.HasPrefix(s.name, name) })
	for _, c := range all {
		ofLens := c.option == "--lens-position" || strings.HasPrefix(c.option, "--autofocus-")
		if hasLens || !ofLens {
			controls = append(controls, c)
		}
	}
	return controls
}

func numberControl(label, option string, lowest, highest, normal, mul, div int64) *piControl {
	return &piControl{option: option, mul: mul, div: div, Control: v4l2.Control{
		Type: v4l2.TypeInteger, Label: label, Name: v4l2.ControlName(label),
		Min: lowest, Max: highest, Default: normal, Step: 1,
	}}
}

func switchControl(label, option string, normal int64) *piControl {
	c := numberControl(label, option, 0, 1, normal, 0, 0)
	c.Type = v4l2.TypeBoolean
	return c
}

// menuControl returns a menu with items that go by their places. An item without a name is
// left out.
func menuControl(label, option string, normal int64, items ...string) *piControl {
	c := numberControl(label, option, 0, int64(len(items)-1), normal, 0, 0)
	c.Type, c.words = v4l2.TypeMenu, items
	for i, name := range items {
		if name != "" {
			c.Menu = append(c.Menu, v4l2.MenuItem{Index: int64(i), Name: name})
		}
	}
	return c
}

// rotateControl has the two of the firmware's values that rpicam-vid knows.
func rotateControl() *piControl {
	c := numberControl("Rotate", "--rotation", 0, 180, 0, 1, 1)
	c.Step = 180
	return c
}

// taking returns the control with the words that its option takes.
func (c *piControl) taking(words ...string) *piControl {
	c.words = words
	return c
}

// relabeled returns the control with a label that says more than its name.
func (c *piControl) relabeled(label string) *piControl {
	c.Label = label
	return c
}

// unless returns the control as one that an automatic mode has, unless that is manual.
func (c *piControl) unless(auto string, manual int64) *piControl {
	c.auto, c.manual = auto, manual
	return c
}

// newModeControl returns the menu of a sensor's modes, behind the automatic choice.
func newModeControl(modes []sensorMode, automatic int) *piControl {
	texts := describeModes(modes)
	items, words := []string{"automatic"}, []string{""}
	if automatic >= 0 {
		items[0], words[0] = "automatic: "+texts[automatic], modes[automatic].argument()
	}
	for i, m := range modes {
		items, words = append(items, texts[i]), append(words, m.argument())
	}
	return menuControl("Mode", "--mode", 0, items...).taking(words...).relabeled("Sensor Mode")
}

// asNumbers returns settings with the numbers of modes that are named by their size.
func asNumbers(modes []sensorMode, set []controlSetting) []controlSetting {
	set = slices.Clone(set)
	for i, s := range set {
		if v4l2.ControlName(s.name) != modeControl {
			continue
		}
		if n := slices.IndexFunc(modes, func(m sensorMode) bool { return m.size() == s.value }); n >= 0 {
			set[i].value = strconv.Itoa(n + 1)
		}
		if strings.EqualFold(s.value, "auto") || strings.EqualFold(s.value, "automatic") {
			set[i].value = "0"
		}
	}
	return set
}

// piValues returns the values of all controls after some were set. A control that was set
// without the automatic mode that has it makes that manual.
func piValues(controls []*piControl, set []assignment) map[string]int64 {
	values, asked := map[string]int64{}, map[string]bool{}
	for _, c := range controls {
		values[c.Name] = c.Default
	}
	for _, a := range set {
		values[a.control.Name], asked[a.control.Name] = a.value, true
	}
	for _, c := range controls {
		if asked[c.Name] && c.auto != "" && !asked[c.auto] {
			values[c.auto] = c.manual
		}
	}
	return values
}

// arguments returns the options that give the controls these values, each with what it takes.
// Those that are as they are by default are left out, but for a lens that would stand still
// and for the sensor's mode.
func arguments(controls []*piControl, values map[string]int64) (args [][]string) {
	for _, c := range controls {
		value := values[c.Name]
		switch {
		case c.Name == autoExposure, c.Name == blueBalance: // part of others
		case c.auto != "" && values[c.auto] != c.manual:
		case c.auto == "" && value == c.Default && c.Name != autoFocus && c.Name != modeControl:
		case c.Name == redBalance:
			args = append(args, []string{c.option, c.number(value) + "," + c.number(values[blueBalance])})
		case c.words != nil && strings.HasSuffix(c.option, "="):
			args = append(args, []string{c.option + c.words[value]})
		case c.words != nil && c.words[value] != "":
			args = append(args, []string{c.option, c.words[value]})
		case c.words == nil && c.Type == v4l2.TypeBoolean:
			args = append(args, []string{c.option})
		case c.words == nil:
			args = append(args, []string{c.option, c.number(value)})
		}
	}
	return args
}

// turnItself has the program turn its pictures, if it can do the whole of it and no control that is
// set does a part.
func (c *rpicamCamera) turnItself(want turn, set []assignment, values map[string]int64) {
	turns := func(a assignment) bool { return slices.Contains([]string{rotate, hflip, vflip}, a.control.Name) }
	h, v, ok := want.flips()
	if !ok || !c.program.knows("--hflip") || !c.program.knows("--vflip") || slices.ContainsFunc(set, turns) {
		if want.orientation() > 1 {
			c.orientation = want.orientation()
		}
		return
	}
	values[hflip], values[vflip] = h, v
}

// number returns a value in the unit of the option.
func (c *piControl) number(value int64) string {
	return strconv.FormatFloat(float64(value*c.mul)/float64(c.div), 'f', -1, 64)
}

// piStates describes the controls and their values.
func piStates(controls []*piControl, values map[string]int64) (states []controlState) {
	for _, c := range controls {
		state := newControlState(c.Control, values[c.Name])
		state.Inactive = c.auto != "" && values[c.auto] != c.manual
		states = append(states, state)
	}
	return states
}

// known returns the controls whose options the program knows.
func (r *piProgram) known(controls []*piControl) (known []*piControl) {
	for _, c := range controls {
		if r.knows(c.option) {
			known = append(known, c)
		}
	}
	return known
}

// v4l2Controls returns the controls as those of a V4L2 device.
func v4l2Controls(controls []*piControl) (all []v4l2.Control) {
	for _, c := range controls {
		all = append(all, c.Control)
	}
	return all
}

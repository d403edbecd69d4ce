//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2_test

import (
	"fmt"
	"reflect"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

func TestControlName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"Brightness", "brightness"},
		{"Exposure Time, Absolute", "exposure_time_absolute"},
		{"White Balance, Auto & Preset", "white_balance_auto_preset"},
		{"Pan (Absolute)", "pan_absolute"},
		{"(Auto) 50/60 Hz", "auto_50_60_hz"},
		{"  two  spaces  ", "two_spaces"},
		{"brightness", "brightness"},
		{"Größe", "gr_e"},
		{"--", ""},
		{"", ""},
	}
	for _, test := range tests {
		if got := v4l2.ControlName(test.name); got != test.want {
			t.Errorf("%q: got %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzControlName(f *testing.F) {
	f.Add("Exposure Time, Absolute")
	f.Add("_\xff_")
	proper := regexp.MustCompile(`^([a-z0-9]+(_[a-z0-9]+)*)?$`)
	f.Fuzz(func(t *testing.T, name string) {
		got := v4l2.ControlName(name)
		if !proper.MatchString(got) {
			t.Errorf("%q: got %q, want words and underscores", name, got)
		}
		if again := v4l2.ControlName(got); again != got {
			t.Errorf("%q: got %q, and of that %q", name, got, again)
		}
	})
}

// controls returns an open webcam and its controls by name.
func controls(t *testing.T) (c *v4l2test.Camera, d *v4l2.Device, byName map[string]v4l2.Control) {
	t.Helper()
	c = v4l2test.NewCamera()
	c.Controls = v4l2test.WebcamControls()
	d = open(t, c)
	all, err := d.Controls()
	if err != nil {
		t.Fatal(err)
	}
	byName = make(map[string]v4l2.Control)
	for _, control := range all {
		byName[control.Name] = control
	}
	return c, d, byName
}

func TestControls(t *testing.T) {
	_, _, got := controls(t)
	auto := v4l2.Control{
		ID: 0x009a0901, Type: v4l2.TypeMenu, Label: "Auto Exposure", Name: "auto_exposure", Max: 3, Default: 3, Step: 1,
		Menu: []v4l2.MenuItem{{Index: 1, Name: "Manual Mode"}, {Index: 3, Name: "Aperture Priority Mode"}},
	}
	if !reflect.DeepEqual(got["auto_exposure"], auto) {
		t.Errorf("got  %+v\nwant %+v", got["auto_exposure"], auto)
	}
	if tests := got["tests"]; tests.Max != 0x80000005 || tests.Default != 0x80000000 {
		t.Errorf("got %+v, want a bitmask without a sign", tests)
	}
	if iso := got["iso_sensitivity"].Menu; fmt.Sprint(iso) != "[{0 2} {1 5} {2 8589934592}]" {
		t.Errorf("got menu %v", iso)
	}
	if !got["pixel_rate"].ReadOnly {
		t.Error("pixel_rate can be set")
	}
	for _, name := range []string{"user_controls", "saturation", "do_white_balance", "label"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s has no number as its value, or is disabled, and is listed", name)
		}
	}
}

// Before Linux 3.17 there was only VIDIOC_QUERYCTRL, which tells the same of 32 bits.
func TestControlsOldKernel(t *testing.T) {
	c, d, want := controls(t)
	c.Fail = v4l2test.FailAt("QUERY_EXT_CTRL", unix.ENOTTY)
	got, err := d.Controls()
	if err != nil {
		t.Fatal(err)
	}
	for _, control := range got {
		if control.Type != v4l2.TypeInteger64 && !reflect.DeepEqual(control, want[control.Name]) {
			t.Errorf("got  %+v\nwant %+v", control, want[control.Name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d controls, want %d", len(got), len(want))
	}
}

func TestControlNamesDiffer(t *testing.T) {
	c := v4l2test.NewCamera()
	for i, label := range []string{"Brightness", "brightness", "亮度", ""} {
		c.Controls = append(c.Controls, &v4l2test.Control{ID: v4l2test.Brightness + uint32(i), Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: label})
	}
	all, err := open(t, c).Controls()
	var names []string
	for _, control := range all {
		names = append(names, control.Name)
	}
	if got, want := fmt.Sprint(names), "[brightness brightness_2 control_980902 control_980903]"; got != want || err != nil {
		t.Errorf("got %s, error %v, want %s", got, err, want)
	}
}

func TestControlsGone(t *testing.T) {
	c, d, _ := controls(t)
	c.Fail = v4l2test.FailAt("QUERY_EXT_CTRL", unix.ENODEV)
	if _, err := d.Controls(); err == nil {
		t.Error("got no error of a device that is gone")
	}
}

func TestParse(t *testing.T) {
	_, _, byName := controls(t)
	for _, test := range []struct {
		name, text string
		want       int64
		err        string // "": none
	}{
		{"brightness", "0x10", 16, ""},
		{"brightness", "140.0", 140, ""},
		{"brightness", "1.4e2", 140, ""},
		{"brightness", "Default", 128, ""},
		{"brightness", "256", 0, "must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness", "1.5", 0, "must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness", "on", 0, "must be from 0 to 255 in steps of 1 (default 128)"},
		{"contrast", "-56", -56, ""},
		{"contrast", "-55", 0, "must be from -64 to 64 in steps of 8 (default -8)"},
		{"horizontal_flip", "TRUE", 1, ""},
		{"horizontal_flip", "off", 0, ""},
		{"horizontal_flip", "2", 0, "must be on or off (default off)"},
		{"white_balance_automatic", "perhaps", 0, "must be on or off (default on)"},
		{"auto_exposure", "manual mode", 1, ""},
		{"auto_exposure", "2", 0, "must be one of 1 (Manual Mode), 3 (Aperture Priority Mode)"},
		{"iso_sensitivity", "2", 2, ""}, // the item, not the one that stands for 2
		{"iso_sensitivity", "5", 1, ""}, // what it stands for
		{"tests", "0x80000001", 0x80000001, ""},
		{"tests", "2", 0, "must be a number with no bits but those of 0x80000005 (default 0x80000000)"},
	} {
		control := byName[test.name]
		got, err := control.Parse(test.text)
		if err != nil && err.Error() != test.err || err == nil && (test.err != "" || got != test.want) {
			t.Errorf("%s=%s: got %d, error %v; want %d, error %q", test.name, test.text, got, err, test.want, test.err)
		}
	}
}

// A default is the value that the driver would make of it, or none.
func TestDefault(t *testing.T) {
	for _, test := range []struct {
		control *v4l2test.Control
		want    string
	}{
		{&v4l2test.Control{Type: uapi.V4L2_CTRL_TYPE_INTEGER, Max: 255, Step: 1, Default: 300}, "255 true"},
		{&v4l2test.Control{Type: uapi.V4L2_CTRL_TYPE_INTEGER, Min: -64, Max: 64, Step: 8, Default: -61}, "-64 true"},
		{&v4l2test.Control{Type: uapi.V4L2_CTRL_TYPE_INTEGER, Min: -64, Max: 64, Step: 8, Default: -60}, "-56 true"},
		{&v4l2test.Control{Type: uapi.V4L2_CTRL_TYPE_BITMASK, Max: 5, Default: 7}, "5 true"},
		{&v4l2test.Control{Type: uapi.V4L2_CTRL_TYPE_MENU, Max: 3, Default: 2, Menu: map[uint32]string{1: "one"}}, "2 false"},
	} {
		test.control.ID = v4l2test.Brightness
		c := v4l2test.NewCamera()
		c.Controls = []*v4l2test.Control{test.control}
		all, err := open(t, c).Controls()
		if err != nil || fmt.Sprint(all[0].Default, all[0].HasDefault()) != test.want {
			t.Errorf("%+v: got %+v, error %v; want %s", test.control, all, err, test.want)
		}
	}
}

func TestControlValue(t *testing.T) {
	c, d, byName := controls(t)
	for name, value := range map[string]int64{
		"brightness": 7, "contrast": -64, "tests": 0x80000001, "offset": -1 << 40, "iso_sensitivity": 2,
	} {
		granted, err := d.SetControlValue(byName[name], value)
		if err != nil || granted != value {
			t.Errorf("%s=%d: the driver made %d of it, error %v", name, value, granted, err)
		}
		if got, err := d.ControlValue(byName[name]); err != nil || got != value {
			t.Errorf("%s: got %d, error %v, want %d", name, got, err, value)
		}
	}
	if granted, err := d.SetControlValue(byName["brightness"], 1000); err != nil || granted != 255 {
		t.Errorf("out of range: the driver made %d of it, error %v, want 255", granted, err)
	}
	if _, err := d.SetControlValue(byName["exposure_time_absolute"], 100); err == nil {
		t.Error("an inactive control was set")
	}
	if got := c.Control("exposure_time_absolute").Value; got != 250 {
		t.Errorf("it is %d, want 250 as before", got)
	}
}

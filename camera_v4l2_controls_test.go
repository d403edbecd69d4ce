//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// setting returns settings with what each -set gives: "name=value name=value",
// with ~ for spaces in them.
func setting(t testing.TB, flags string) settings {
	t.Helper()
	o := options{settings: smallSize}
	for _, text := range strings.Fields(flags) {
		if err := o.parseSet(strings.ReplaceAll(text, "~", " ")); err != nil {
			t.Fatal(err)
		}
	}
	return o.settings
}

// values lists the values that differ from those of a new webcam.
func values(c *v4l2test.Camera) string {
	var values []string
	for i, before := range v4l2test.WebcamControls() {
		if after := c.Controls[i]; after.Value != before.Value {
			values = append(values, fmt.Sprintf("%s=%d", v4l2.ControlName(after.Label), after.Value))
		}
	}
	return strings.Join(values, " ")
}

// The camera has the values that -set gives.
func TestV4L2Set(t *testing.T) {
	tests := []struct{ set, want string }{
		{"", ""},
		{"brightness=0", "brightness=0"},
		{"brightness=255 contrast=-64", "brightness=255 contrast=-64"},
		{"brightness=1 brightness=2", "brightness=2"},
		{"Brightness=0x10", "brightness=16"},
		{"brightness=140.0", "brightness=140"}, // as programs write a number that may have been a fraction
		{"brightness=1.4e2 contrast=-64.0", "brightness=140 contrast=-64"},
		{"auto_exposure=1.0 horizontal_flip=1.0", "horizontal_flip=1 auto_exposure=1"},
		{"brightness=1 brightness=default", ""},
		{"white_balance_automatic=off horizontal_flip=on", "white_balance_automatic=0 horizontal_flip=1"},
		{"white_balance_automatic=False horizontal_flip=TRUE", "white_balance_automatic=0 horizontal_flip=1"},
		{"white_balance_automatic=0 horizontal_flip=1", "white_balance_automatic=0 horizontal_flip=1"},
		{"white_balance_automatic=0 white_balance_automatic=default", ""},
		{"auto_exposure=1", "auto_exposure=1"},
		{"auto_exposure=manual~mode", "auto_exposure=1"},
		{"exposure_time_absolute=100 auto_exposure=1", "auto_exposure=1 exposure_time_absolute=100"},
		{"auto_exposure=1 exposure_time_absolute=100", "auto_exposure=1 exposure_time_absolute=100"},
		{"iso_sensitivity=1", "iso_sensitivity=1"},          // the entry
		{"iso_sensitivity=2", "iso_sensitivity=2"},          // the entry, not the one that stands for 2
		{"iso_sensitivity=5", "iso_sensitivity=1"},          // what it stands for
		{"iso_sensitivity=8589934592", "iso_sensitivity=2"}, // more than 32 bits
		{"tests=0x80000001", "tests=-2147483647"},           // the kernel has 32 bits with a sign
		{"offset=-9223372036854775808", "offset=-9223372036854775808"},
		{"offset=4294967296", "offset=4294967296"},
	}
	for _, test := range tests {
		t.Run(test.set, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = v4l2test.WebcamControls()
			c, err := openNode(k, fakePath, setting(t, test.set))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := values(k); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A wrong -set says what is possible, and nothing is set.
func TestV4L2SetWrong(t *testing.T) {
	const all = "brightness, contrast, white_balance_automatic, horizontal_flip, tests, auto_exposure, " +
		"exposure_time_absolute, exposure_dynamic_framerate, iso_sensitivity, offset"
	tests := []struct{ set, want string }{
		{"brightnes=1", `no control "brightnes": it has ` + all},
		{"saturation=1", `no control "saturation": it has ` + all},
		{"do_white_balance=1", `no control "do_white_balance": it has ` + all},
		{"label=x", `no control "label": it has ` + all},
		{"brightness=300", "brightness=300: must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness=-1", "brightness=-1: must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness=on", "brightness=on: must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness=1.5", "brightness=1.5: must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness=-1e-9", "brightness=-1e-9: must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness=inf", "brightness=inf: must be from 0 to 255 in steps of 1 (default 128)"},
		{"offset=1e19", "offset=1e19: must be from -9223372036854775808 to 9223372036854775807 in steps of 1 (default 0)"},
		{"brightness=4294967296", "brightness=4294967296: must be from 0 to 255 in steps of 1 (default 128)"},
		{"brightness=99999999999999999999", "brightness=99999999999999999999: must be from 0 to 255 in steps of 1 (default 128)"},
		{"contrast=1", "contrast=1: must be from -64 to 64 in steps of 8 (default -8)"},
		{"horizontal_flip=2", "horizontal_flip=2: must be on or off (default off)"},
		{"white_balance_automatic=maybe", "white_balance_automatic=maybe: must be on or off (default on)"},
		{"auto_exposure=x", "auto_exposure=x: must be one of 1 (Manual Mode), 3 (Aperture Priority Mode)"},
		{"auto_exposure=2", "auto_exposure=2: must be one of 1 (Manual Mode), 3 (Aperture Priority Mode)"},
		{"auto_exposure=on", "auto_exposure=on: must be one of 1 (Manual Mode), 3 (Aperture Priority Mode)"},
		{"iso_sensitivity=3", "iso_sensitivity=3: must be one of 0 (2), 1 (5), 2 (8589934592)"},
		{"tests=2", "tests=2: must be a number with no bits but those of 0x80000005 (default 0x80000000)"},
		{"tests=-1", "tests=-1: must be a number with no bits but those of 0x80000005 (default 0x80000000)"},
		{"pixel_rate=1", "pixel_rate=1: this control can only be read"},
		{"exposure_time_absolute=9", "exposure_time_absolute=9: an automatic mode has this control: switch that off, too"},
	}
	for _, test := range tests {
		t.Run(test.set, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = v4l2test.WebcamControls()
			_, err := openNode(k, fakePath, setting(t, test.set))
			if err == nil || err.Error() != fakePath+": "+test.want {
				t.Errorf("got  %v\nwant %s: %s", err, fakePath, test.want)
			}
			if got := values(k); got != "" {
				t.Errorf("%s was set, want nothing", got)
			}
			k.CheckReleased(t)
		})
	}
}

// All is checked before the first is set.
func TestV4L2SetAllOrNone(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()
	if _, err := openNode(k, fakePath, setting(t, "brightness=1 contrast=1")); err == nil {
		t.Error("got no error, want one")
	}
	if slices.Contains(k.Calls, "S_EXT_CTRLS") {
		t.Errorf("got calls %q, want none that sets anything", k.Calls)
	}
}

func TestV4L2SetWithoutControls(t *testing.T) {
	_, err := openNode(v4l2test.NewCamera(), fakePath, setting(t, "brightness=1"))
	if want := fakePath + `: no control "brightness": it has none`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// Linux before 3.17 has VIDIOC_QUERYCTRL only, some drivers have nothing.
func TestV4L2OldControls(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()[:10]
	k.Fail = v4l2test.FailAt("QUERY_EXT_CTRL", unix.ENOTTY)
	c := openFake(t, k)
	got, err := c.controls()
	if err != nil {
		t.Fatal(err)
	}
	k.Fail = nil
	want, err := c.controls()
	if err != nil || len(want) != 5 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("with VIDIOC_QUERYCTRL: got  %v\nwant, as with VIDIOC_QUERY_EXT_CTRL, %v (error %v)", got, want, err)
	}
	k.Fail = func(call string) error { return errorIf(strings.HasPrefix(call, "QUERY"), unix.ENOTTY) }
	if list, err := c.controls(); len(list) > 0 || err != nil {
		t.Errorf("with neither: got %v, error %v, want none of both", list, err)
	}
}

// errorIf returns err on a condition, and otherwise nil.
func errorIf(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

func TestV4L2ControlErrors(t *testing.T) {
	broken := func(call string) func(k *v4l2test.Camera) {
		return func(k *v4l2test.Camera) { k.Fail = v4l2test.FailAt(call, unix.ENODEV) }
	}
	refuses := func(err error) func(k *v4l2test.Camera) {
		return func(k *v4l2test.Camera) { k.Control("brightness").Refuse = func() error { return err } }
	}
	tests := []struct {
		name   string
		change func(k *v4l2test.Camera)
		want   string
	}{
		{"unplugged when asked", broken("QUERY_EXT_CTRL"), "the camera is gone: was it unplugged?"},
		{"unplugged when set", broken("S_EXT_CTRLS"), "the camera is gone: was it unplugged?"},
		{"busy", refuses(unix.EBUSY), "brightness=1: another program has this control"},
		{"broken", refuses(unix.EIO), "brightness=1: ioctl(VIDIOC_S_EXT_CTRLS): input/output error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = v4l2test.WebcamControls()
			test.change(k)
			_, err := openNode(k, fakePath, setting(t, "brightness=1"))
			if err == nil || err.Error() != fakePath+": "+test.want {
				t.Errorf("got  %v\nwant %s: %s", err, fakePath, test.want)
			}
			k.CheckReleased(t)
		})
	}
}

// A control that cannot be asked about ends the list, and so does a driver that
// goes round in circles. A menu is not as long as it says.
func TestV4L2ControlNonsense(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()
	k.Control("auto_exposure").Max = 1<<63 - 1
	c := openFake(t, k)
	asked := 0
	k.Fail = func(call string) error {
		if call == "QUERY_EXT_CTRL" {
			asked++
		}
		return errorIf(asked == 12, unix.EIO)
	}
	list, err := c.controls()
	if err != nil || settableNames(list) != "brightness, contrast, white_balance_automatic, horizontal_flip, tests, auto_exposure" {
		t.Errorf("got %s, error %v, want those before the broken one", settableNames(list), err)
	}
	k.Fail = nil
	k.Controls = append(k.Controls[:3:3], &v4l2test.Control{ID: 0xffffffff, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Circle"})
	if list, err := c.controls(); err != nil || len(list) > 3 {
		t.Errorf("got %d controls, error %v, want at most 3", len(list), err)
	}
}

// What an automatic mode overwrites when it is switched off holds all the same,
// in whatever order they are given: drivers like vivid take it, and forget it.
func TestV4L2SetOverwritten(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()
	k.Control("exposure_time_absolute").Refuse = nil
	auto := k.Control("auto_exposure")
	auto.Changed = func() {
		if auto.Default == 3 { // it is the first time
			k.Control("exposure_time_absolute").Value = 777
			auto.Default = 1
		}
	}
	c, err := openNode(k, fakePath, setting(t, "exposure_time_absolute=100 auto_exposure=1"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := values(k), "auto_exposure=1 exposure_time_absolute=100"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The driver may make another value of what it is asked for.
func TestV4L2SetClamped(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()
	f := k.Control("brightness")
	f.Changed = func() { f.Value = min(f.Value, 200) }
	want := setting(t, "brightness=255")
	opened, err := openNode(k, fakePath, want)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	c := opened.(*v4l2Camera)
	if got, err := c.device.ControlValue(c.assignments[0].control); got != 200 || err != nil {
		t.Errorf("got brightness %d, error %v, want 200", got, err)
	}
}

// Some cameras forget their controls when they start to stream. One that
// refuses to have it set then shows its picture all the same.
func TestV4L2SetAgain(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprint("refused: ", refused), func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = v4l2test.WebcamControls()
			k.Show(picture1)
			f := k.Control("brightness")
			k.Fail = func(call string) error {
				if call == "STREAMON" {
					f.Value = f.Default
					f.Refuse = func() error { return errorIf(refused, unix.EBUSY) }
				}
				return nil
			}
			c, err := openNode(k, fakePath, setting(t, "brightness=7"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := captureOne(c); err != nil {
				t.Error(err)
			}
			want := int64(7)
			if refused {
				want = f.Default
			}
			if f.Value != want {
				t.Errorf("got brightness %d, want %d", f.Value, want)
			}
		})
	}
}

// A rate that was asked for also holds in the dark, if the camera has a control for that. A slow
// one leaves the camera time for longer exposures.
func TestV4L2SteadyRate(t *testing.T) {
	tests := []struct {
		fps       float64
		set, want string
	}{
		{0, "", ""},
		{30, "", "exposure_dynamic_framerate=0"},
		{5, "exposure_dynamic_framerate=off", "exposure_dynamic_framerate=0"},
		{5, "", ""},
		{30, "brightness=1", "brightness=1 exposure_dynamic_framerate=0"},
		{30, "exposure_dynamic_framerate=on", ""},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.fps, " ", test.set), func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = v4l2test.WebcamControls()
			want := setting(t, test.set)
			want.fps = test.fps
			c, err := openNode(k, fakePath, want)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := values(k); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	k := v4l2test.NewCamera()
	c, err := openNode(k, fakePath, settings{width: 320, height: 180, fps: 30, quality: 80})
	if err != nil {
		t.Fatalf("without such a control: %v", err)
	}
	c.Close()
}

// Controls that are set while the camera runs are all set, or none is.
func TestV4L2Adjust(t *testing.T) {
	for _, test := range []struct{ set, want, err string }{
		{"brightness=100 contrast=8", "brightness=100 contrast=8", ""},
		{"exposure_time_absolute=100 auto_exposure=1", "auto_exposure=1 exposure_time_absolute=100", ""},
		{"brightness=100 exposure_time_absolute=100", "", fakePath + ": exposure_time_absolute=100: an automatic mode has this control: switch that off, too"},
		{"brightness=100 contrast=99", "", "contrast=99: must be from -64 to 64 in steps of 8 (default -8)"},
	} {
		k := v4l2test.NewCamera()
		k.Controls = v4l2test.WebcamControls()
		c := openFake(t, k)
		before := values(k)
		err := c.setControls(setting(t, test.set).set)
		if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: got error %v, want %s", test.set, err, test.err)
		}
		if got := values(k); test.err != "" && got != before || test.err == "" && got != test.want {
			t.Errorf("%s: got %q, want %q; %q before", test.set, got, test.want, before)
		}
	}
}

func TestV4L2Choices(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()
	k.Sizes = [][2]uint32{{640, 480}, {320, 180}}
	k.Intervals = []uapi.Fract{fract(1, 15), fract(1, 30)}
	ch := openFake(t, k).choices()
	got := fmt.Sprint(ch.Sizes, ch.Rates, ch.Encodes)
	for _, d := range ch.Controls {
		got += fmt.Sprintf("\n%s: %q %s %d-%d/%d %d (%d) %v %v %v", d.Name, d.Label, d.Type, d.Min, d.Max, d.Step, d.Value, *d.Default, d.Menu, d.Inactive, d.ReadOnly)
	}
	want := `[640x480 320x180] [30 15] false
brightness: "Brightness" int 0-255/1 128 (128) [] false false`
	if !strings.HasPrefix(got, want) || !strings.Contains(got, `auto_exposure: "Auto Exposure" menu 0-3/1 3 (3) [{1 Manual Mode} {3 Aperture Priority Mode}] false false`) ||
		!strings.Contains(got, `pixel_rate: "Pixel Rate" int 0-1099511627776/1 34359738368 (0) [] false true`) {
		t.Errorf("got  %s\nwant %s and so on", got, want)
	}
	if err := ch.check(setting(t, "brightness=300").set); err == nil {
		t.Error("brightness=300: no error")
	}
}

// A driver that fails half way through the list of its controls costs the rest of
// the list, not the camera.
func TestV4L2ControlsHalfWay(t *testing.T) {
	for _, err := range []error{unix.EPIPE, unix.ETIMEDOUT, unix.EBUSY, unix.EACCES, unix.EIO} {
		k := v4l2test.NewCamera()
		k.Controls = v4l2test.WebcamControls()
		asked := 0
		k.Fail = func(call string) error {
			if call == "QUERY_EXT_CTRL" {
				asked++
			}
			return errorIf(call == "QUERY_EXT_CTRL" && asked == 3, err)
		}
		c, err := openNode(k, fakePath, setting(t, "brightness=1"))
		if err != nil {
			t.Error(err)
			continue
		}
		c.Close()
		if got := values(k); got != "brightness=1" {
			t.Errorf("got %q", got)
		}
	}
}

// A control that cannot be read is listed, and can be set while the camera runs.
func TestV4L2WriteOnly(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Controls = v4l2test.WebcamControls()[:3]
	k.Fail = v4l2test.FailAt("G_EXT_CTRLS", unix.EACCES)
	c := openFake(t, k)
	controls := c.choices().Controls
	if len(controls) != 2 || !controls[0].WriteOnly || controls[0].Value != 128 {
		t.Fatalf("got %+v, want two that can only be written, with their defaults", controls)
	}
	if err := c.setControls([]controlSetting{{name: "brightness", value: "7"}}); err != nil {
		t.Error(err)
	}
	if got := k.Control("brightness").Value; got != 7 {
		t.Errorf("brightness is %d, want 7", got)
	}
}

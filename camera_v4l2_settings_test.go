//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// attachFake has a supervisor of the open camera of a kernel, which takes no pictures. The
// function sends a change and returns the answer.
func attachFake(t *testing.T, f *v4l2test.Camera) (k *supervisor, c *v4l2Camera, send func(body string) string) {
	k = newSupervisor(newStream(1, thisHost.sockets), thisHost.drivers, smallSize, 0, log.New(io.Discard, "", 0))
	c = openFake(t, f)
	k.setLive(c, 0)
	return k, c, sender(k)
}

// The rates of television are shown with two decimals, and chosen by that.
func TestV4L2Rates(t *testing.T) {
	f := v4l2test.NewCamera()
	f.Intervals = []uapi.Fract{
		fract(1001, 30000), fract(1000000, 29970030), fract(1, 15), fract(1001, 15000), // the second is the first, rounded by its driver
		fract(0, 1), fract(1, 0), fract(1000, 1), fract(1, 500), // none that can be asked for
	}
	k, c, send := attachFake(t, f)
	if got := k.settings(); got.FPS != 29.97 || !slices.Equal(got.Rates, []float64{29.97, 15, 14.99}) {
		t.Errorf("got %v of %v fps", got.FPS, got.Rates)
	}
	if got := c.Info().String(); !strings.HasSuffix(got, " at 29.97 fps") {
		t.Errorf("the log has %s", got)
	}
	for _, test := range []struct {
		fps  string
		want uapi.Fract
	}{
		{"15", fract(1, 15)},
		{"29.97", fract(1001, 30000)},
		{"14.99", fract(1001, 15000)},
		{"30", fract(1001, 30000)},
		{"14.985", fract(1001, 15000)},
		{"29.97002997002997", fract(1001, 30000)},
	} {
		got := send("fps=" + test.fps)
		if long := regexp.MustCompile(`\d\.\d{3}`).FindString(got); long != "" || !strings.HasPrefix(got, "200 ") {
			t.Errorf("fps=%s: got %s", test.fps, got)
		}
		want, _ := k.wanted()
		if err := c.setRate(want); err != nil || f.Parm.TimePerFrame != test.want {
			t.Errorf("fps=%s: the interval is %v, error %v, want %v", test.fps, f.Parm.TimePerFrame, err, test.want)
		}
	}
	for _, fps := range []string{"25", "30.3", "14.8"} {
		if got, want := send("fps="+fps), "400 fps="+fps+": must be one of [29.97 15 14.99]"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What is offered as the default of a control can be set: the value that the driver
// would make of it, or none.
func TestV4L2Default(t *testing.T) {
	f := v4l2test.NewCamera()
	f.Controls = v4l2test.WebcamControls()
	f.Control("brightness").Default = 300
	f.Control("contrast").Default = -63 // between two steps
	f.Control("white_balance_automatic").Default = 255
	f.Control("auto_exposure").Default = 2
	f.Control("iso_sensitivity").Default = -1
	k, _, send := attachFake(t, f)
	got := make(map[string]int64)
	for _, d := range k.settings().Controls {
		if d.Default == nil {
			continue
		}
		got[d.Name] = *d.Default
		if d.Name == "exposure_time_absolute" || d.ReadOnly {
			continue // an automatic mode has it
		}
		for _, value := range []any{"default", *d.Default} { // from a script, from the page
			body, _ := json.Marshal(map[string]any{"controls": map[string]any{d.Name: value}})
			if answer := send(string(body)); !strings.HasPrefix(answer, "200 ") {
				t.Errorf("%s: got %s", body, answer)
			}
		}
		if value := f.Control(d.Name).Value; value != *d.Default {
			t.Errorf("%s is %d, want %d", d.Name, value, *d.Default)
		}
	}
	want := map[string]int64{
		"brightness": 255, "contrast": -64, "white_balance_automatic": 1, "horizontal_flip": 0,
		"exposure_time_absolute": 250, "exposure_dynamic_framerate": 0, "pixel_rate": 0, "offset": 0,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the defaults are\n%v, want\n%v", got, want)
	}
	if got, want := send("auto_exposure=default"), "400 auto_exposure=default: must be one of 1 (Manual Mode), 3 (Aperture Priority Mode) (no default)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := send("reset=1"); !strings.HasPrefix(got, "200 ") || f.Control("auto_exposure").Value != 3 {
		t.Errorf("reset: got %s, auto_exposure=%d", got, f.Control("auto_exposure").Value)
	}
}

// What a camera calls itself and its controls cannot do anything to a terminal or a
// log, and it is found again by that.
func TestV4L2Printable(t *testing.T) {
	f := v4l2test.NewCamera()
	f.Card = "\x1b[2J\u009bmHD\r\nWeb\xffcam \u202ebad\u4e2d\n"
	f.Driver = "\x07uvc\x7fvideo"
	f.Controls = []*v4l2test.Control{
		{ID: v4l2test.Brightness, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Bright\x1bness\u200f", Max: 1},
		{ID: v4l2test.AutoExposure, Type: uapi.V4L2_CTRL_TYPE_MENU, Label: "Auto", Max: 1, Menu: map[uint32]string{0: "a\nb", 1: "\u061cc\xc3"}},
	}
	_, c, _ := attachFake(t, f)
	if got, want := c.Info().String(), fakePath+" ([2JmHDWeb?cam bad中, uvcvideo): 320x180 MJPG at 30 fps"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	ch := c.choices()
	if got, want := fmt.Sprint(ch.Controls[0].Label, ch.Controls[1].Menu), "Brightness[{0 ab} {1 c?}]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := settings{camera: "/dev/video0", last: c.Info()}
	board := v4l2test.NewBoard(map[string]*v4l2test.Camera{"/dev/video3": f})
	if found, _ := findNodes(board, want); found[0] != "/dev/video3" {
		t.Error("it is not found by its name")
	}

	f = v4l2test.NewCamera()
	f.Formats = []string{"Y16\xa0", "\x1b[2J", "YUY\xd6", "RGB4", "Y8"}
	err := session(f, 0)
	if err == nil || !strings.Contains(err.Error(), "the camera has Y16 -BE .[2J YUYV-BE RGB4 Y8,") || strings.ContainsFunc(err.Error(), unicode.IsControl) {
		t.Errorf("got error %q", err)
	}
}

// Each control has a name of its own by which it can be set, in whatever language its
// label is.
func TestV4L2ControlNames(t *testing.T) {
	f := v4l2test.NewCamera()
	labels := []string{"Brightness", "brightness", "亮度", "Brightness 2", "BRIGHTNESS", "", "--", "Control 980902"}
	names := []string{"brightness", "brightness_2", "control_980902", "brightness_2_2", "brightness_3", "control_980905", "control_980906", "control_980902_2"}
	for i, label := range labels {
		f.Controls = append(f.Controls, &v4l2test.Control{ID: v4l2test.Brightness + uint32(i), Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: label, Max: 255, Step: 1})
	}
	k, c, send := attachFake(t, f)
	var got []string
	for _, d := range k.settings().Controls {
		got = append(got, d.Name)
		if d.Label == "" {
			t.Errorf("%s has no label", d.Name)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("got  %q\nwant %q", got, names)
	}
	for i, name := range names {
		answer := send(fmt.Sprintf("%s=%d", name, i+1))
		err := c.setControls([]controlSetting{{name: name, value: fmt.Sprint(100 + i)}}) // as -set does
		if !strings.HasPrefix(answer, "200 ") || err != nil || f.Controls[i].Value != int64(100+i) {
			t.Errorf("%s: got %.60s, error %v; the value is %d", name, answer, err, f.Controls[i].Value)
		}
	}
}

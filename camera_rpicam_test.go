//go:build linux && (arm || arm64)

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newSensor returns a board with a sensor that rpicam-vid has listed.
func newSensor(t *testing.T, sensor, script string) *pi {
	t.Helper()
	p := newBoard(t, aPi, "rpicam-vid", script)
	p.answered(sensorLists[sensor])
	return p
}

// newUnasked returns a board with a program that was not asked yet what it has.
func newUnasked(t *testing.T, list, help string) *pi {
	t.Helper()
	p := newBoard(t, aPi, "rpicam-vid", "")
	p.writeBeside(t, "list", list)
	p.writeBeside(t, "help", help)
	return p
}

// writeBeside writes a file beside the stand-in.
func (p *pi) writeBeside(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(findProgram()), name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// parseSettings returns settings of controls like "a=1 b=2", as flags give them.
func parseSettings(text string) (set []controlSetting) {
	for _, one := range strings.Fields(text) {
		name, value, _ := strings.Cut(one, "=")
		set = append(set, controlSetting{name: name, value: strings.ReplaceAll(value, "+", " ")})
	}
	return set
}

func TestRpicamArguments(t *testing.T) {
	for _, test := range []struct {
		sensor, set string
		want        string // the last arguments, or the error
	}{
		{"imx219", "", "-o - --mode 1640:1232:10:P"},
		{"imx219", "mode=640x480", "-o - --mode 640:480:10:P"},
		{"imx219", "mode=3", "-o - --mode 1640:1232:8:U"},
		{"imx219", "mode=3280x2464", "--framerate 21.19 --flush -o - --mode 3280:2464:10:P"},
		{"imx219", "mode=640x480 mode=auto", "-o - --mode 1640:1232:10:P"},
		{"", "brightness=-50", "-o - --brightness -0.5"},
		{"imx708", "", "-o - --mode 2304:1296:10:P --autofocus-mode continuous"},
		{"imx708", "focus_automatic_continuous=off", "-o - --mode 2304:1296:10:P --autofocus-mode manual --lens-position 1"},
		{"imx708", "focus_absolute=250", "-o - --mode 2304:1296:10:P --autofocus-mode manual --lens-position 2.5"},
		{"imx708", "focus_absolute=250 focus_automatic_continuous=1", "-o - --mode 2304:1296:10:P --autofocus-mode continuous"},
		{"imx708", "auto_focus_range=macro autofocus_speed=fast", "-o - --mode 2304:1296:10:P --autofocus-mode continuous --autofocus-range macro --autofocus-speed fast"},
		{"", "exposure_time_absolute=200", "-o - --shutter 20000"},
		{"", "auto_exposure=1 exposure_time_absolute=5", "-o - --shutter 500"},
		{"", "auto_exposure=manual+mode", "-o - --shutter 10000"},
		{"", "auto_exposure=0 exposure_time_absolute=5", "-o -"},
		{"", "analogue_gain=250 auto_exposure_bias=-500", "-o - --gain 2.5 --ev -0.5"},
		{"", "white_balance_auto_preset=daylight", "-o - --awb daylight"},
		{"", "red_balance=1800", "-o - --awbgains 1.8,1"},
		{"", "white_balance_auto_preset=auto red_balance=1800", "-o -"},
		{"", "contrast=150 saturation=0 sharpness=100", "-o - --contrast 1.5 --saturation 0"},
		{"", "power_line_frequency=60+hz", "-o - --flicker-period 8333us"},
		{"", "exposure_metering_mode=spot exposure=sport denoise=cdn_off hdr=sensor", "-o - --metering spot --exposure sport --denoise cdn_off --hdr=sensor"},
		{"imx219", "mode=1x1", `Raspberry Pi camera imx219: mode=1x1: must be one of 0 (automatic: 1640x1232, whole field of view, up to 41 fps), 1 (640x480, 39 % of the width and height, up to 103 fps), `},
		{"", "brightness=101", "Raspberry Pi camera imx219: brightness=101: must be from -100 to 100 in steps of 1 (default 0)"},
		{"", "focus_absolute=1", `Raspberry Pi camera imx219: no control "focus_absolute": it has auto_exposure, exposure_time_absolute, analogue_gain, `},
	} {
		t.Run(test.sensor+" "+test.set, func(t *testing.T) {
			want := settings{camera: "pi", width: 640, height: 480, quality: 80, set: parseSettings(test.set)}
			cam, err := newSensor(t, test.sensor, "").open("", want)
			if err != nil {
				if !strings.HasPrefix(err.Error(), test.want) || maybeNoCamera(err) {
					t.Errorf("got error %v, want %s", err, test.want)
				}
				return
			}
			if got := strings.Join(cam.(*rpicamCamera).argv, " "); !strings.HasSuffix(got, test.want) {
				t.Errorf("got %s, want it to end in %s", got, test.want)
			}
		})
	}
}

// The program flips pictures, if that is the whole turn and no control does a part of it.
func TestRpicamTurn(t *testing.T) {
	for _, test := range []struct {
		turn        turn
		set         string
		want        string // the last arguments
		orientation int    // that is left, 0 for none
	}{
		{turn{}, "horizontal_flip=1", "-o - --hflip", 0},
		{turn{0, "h"}, "", "-o - --hflip", 0},
		{turn{0, "v"}, "brightness=-50", "-o - --brightness -0.5 --vflip", 0},
		{turn{180, ""}, "", "-o - --hflip --vflip", 0},
		{turn{180, "v"}, "", "-o - --hflip", 0},
		{turn{90, ""}, "", "-o -", 6},
		{turn{270, "h"}, "rotate=180", "-o - --rotation 180", 5},
		{turn{180, ""}, "rotate=180", "-o - --rotation 180", 3},
		{turn{0, "h"}, "vertical_flip=on", "-o - --vflip", 2},
		{turn{0, "h"}, "horizontal_flip=off", "-o -", 2},
	} {
		want := settings{camera: "pi", width: 640, height: 480, quality: 80, set: parseSettings(test.set), turn: test.turn}
		c := mustOpen(t, newSensor(t, "", ""), want)
		args := strings.Join(c.argv, " ")
		if !strings.HasSuffix(args, test.want) || !strings.Contains(args, "--width 640 --height 480") || c.orientation != test.orientation {
			t.Errorf("%v, %s: got %s and orientation %d, want 640x480, %s and %d", test.turn, test.set, args, c.orientation, test.want, test.orientation)
		}
		if width, height := test.turn.size(640, 480); c.Info().Width != width || c.Info().Height != height {
			t.Errorf("%v: it is %v, want %dx%d", test.turn, c.Info(), width, height)
		}
	}
}

func TestRpicamBuffers(t *testing.T) {
	p := newSensor(t, "", "")
	for memory, want := range map[uint64]bool{0: false, 512 << 20: true, 1 << 30: true, 2 << 30: false} {
		p.memory = memory
		cam, err := p.open("", settings{camera: "pi", width: 640, height: 480, quality: 80})
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Join(cam.(*rpicamCamera).argv, " ")
		if got := strings.HasSuffix(args, "--buffer-count 3"); got != want {
			t.Errorf("with %d bytes: got %s, want few buffers: %v", memory, args, want)
		}
	}
}

// What a viewer can set is told with the values that it has, also before it is in use.
func TestRpicamChoices(t *testing.T) {
	cam, err := newSensor(t, "imx708", "").open("", settings{camera: "pi", width: 640, height: 480, quality: 80})
	if err != nil {
		t.Fatal(err)
	}
	ch := cam.(configurable).choices()
	if err := ch.check([]controlSetting{{"mode", "1536x864", true}, {"focus_absolute", "300", true}}); err != nil {
		t.Error(err)
	}
	if err := ch.check([]controlSetting{{"focus_absolute", "3000", true}}); err == nil {
		t.Error("a wrong value has no error")
	}
	find := func(set string, name string) controlState {
		states := ch.states(parseSettings(set))
		i := slices.IndexFunc(states, func(s controlState) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("no control %s", name)
		}
		return states[i]
	}
	for _, test := range []struct {
		set, name string
		value     int64
		inactive  bool
	}{
		{"", "mode", 0, false},
		{"mode=1536x864", "mode", 1, false},
		{"", "focus_automatic_continuous", 1, false},
		{"", "focus_absolute", 100, true},
		{"focus_absolute=300", "focus_absolute", 300, false},
		{"focus_absolute=300", "focus_automatic_continuous", 0, false},
		{"auto_exposure=1", "exposure_time_absolute", 100, false},
		{"", "exposure_time_absolute", 100, true},
		{"red_balance=1500", "white_balance_auto_preset", 0, false},
	} {
		if got := find(test.set, test.name); got.Value != test.value || got.Inactive != test.inactive {
			t.Errorf("after %q: got %s=%d, inactive %v; want %d, %v", test.set, test.name, got.Value, got.Inactive, test.value, test.inactive)
		}
	}
	const want = "Sensor Mode (640x480 cuts off 25 % of the width: 640x360 shows all)"
	if got := find("", "mode").Label; got != want {
		t.Errorf("got label %q, want %q", got, want)
	}
}

// The program is asked once for what it has, also if porthole is started again, until the
// program or the sensors change.
func TestRpicamAskedOnce(t *testing.T) {
	p := newUnasked(t, sensorLists["imx219"], "")
	program := findProgram()
	asked := func(p *pi) int {
		t.Helper()
		cam, err := p.open("", settings{camera: "pi", width: 640, height: 480, quality: 80})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(cam.(*rpicamCamera).argv, " "); !strings.HasSuffix(got, "--mode 1640:1232:10:P") {
			t.Errorf("got %s, want the mode that sees everything", got)
		}
		lines, _ := os.ReadFile(filepath.Join(filepath.Dir(program), "asked"))
		return strings.Count(string(lines), "\n")
	}
	again := func() *pi { return &pi{sysfs: p.sysfs, kernel: p.kernel, caches: p.caches} }
	if got := []int{asked(p), asked(p), asked(again())}; !slices.Equal(got, []int{1, 1, 1}) {
		t.Errorf("after each opening it was asked %v times, want once", got)
	}
	if err := os.Chtimes(program, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := asked(again()); got != 2 {
		t.Errorf("another program: it was asked %d times, want 2", got)
	}
	if err := os.WriteFile(filepath.Join(p.sysfs, "class/video4linux/v4l-subdev0/name"), []byte("imx477 10-001a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := asked(again()); got != 3 {
		t.Errorf("another sensor: it was asked %d times, want 3", got)
	}
	other := again()
	if _, err := other.open("", settings{camera: "pi:imx999", width: 640, height: 480, quality: 80}); err == nil {
		t.Error("a camera that is not there was opened")
	}
	if got := asked(other); got != 4 {
		t.Errorf("a camera that was not listed before: it was asked %d times, want 4", got)
	}
	p.caches = []string{filepath.Join(program, "no directory")}
	if got := []int{asked(again()), asked(again())}; !slices.Equal(got, []int{5, 6}) {
		t.Errorf("without a place to keep answers it was asked %v times, want 5 and 6", got)
	}
}

// Answers that are no good are not kept.
func TestRpicamAnswersNotKept(t *testing.T) {
	for _, list := range []string{"", "No cameras available!\n", sensorLists["imx708 in use"], strings.Repeat("x", 2*maxAnswer)} {
		p := newUnasked(t, list, "")
		if _, err := p.open("", settings{camera: "pi", width: 640, height: 480, quality: 80}); err != nil {
			t.Error(err)
		}
		if files, _ := os.ReadDir(p.caches[0]); len(files) > 0 {
			t.Errorf("%.40q is kept", list)
		}
	}
}

// oldProgram knows few options, and complains about one at a time.
const oldProgram = `echo $* >>started
for option; do
	case $option in
	--buffer-count|--autofocus-mode|--lens-position) echo "ERROR: *** unrecognised option '$option' ***" >&2; exit 255;;
	esac
done
cat b.jpg; exec sleep 1000`

// Options that an old program does not know are left out, and at the next start, too.
func TestRpicamOldProgram(t *testing.T) {
	p := newSensor(t, "imx708", oldProgram)
	p.memory = 512 << 20
	want := settings{camera: "pi", width: 640, height: 480, quality: 80, set: parseSettings("focus_absolute=300 brightness=50")}
	var log []string
	for range 2 {
		cam, err := p.open("", want)
		if err != nil {
			t.Fatal(err)
		}
		c := cam.(*rpicamCamera)
		c.setLog(func(line string) { log = append(log, line) })
		if _, _, err := c.Capture(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		cam.Close()
		if got := strings.Join(c.argv, " "); !strings.HasSuffix(got, "-o - --mode 2304:1296:10:P --brightness 0.5") {
			t.Errorf("got %s, want only what it knows", got)
		}
	}
	if line := "rpicam-vid: too old for --lens-position, which is left out"; !slices.Contains(log, line) {
		t.Errorf("got log %q, want %q in it", log, line)
	}
	started, _ := os.ReadFile(filepath.Join(filepath.Dir(findProgram()), "started"))
	if got := strings.Count(string(started), "\n"); got != 5 {
		t.Errorf("it was started %d times, want four times to learn its options, and once", got)
	}
	states := mustOpen(t, p, want).choices().states(nil)
	if slices.ContainsFunc(states, func(s controlState) bool { return s.Name == "focus_absolute" }) {
		t.Error("a control that it does not know is offered")
	}
}

func mustOpen(t *testing.T, p *pi, want settings) *rpicamCamera {
	t.Helper()
	cam, err := p.open("", want)
	if err != nil {
		t.Fatal(err)
	}
	return cam.(*rpicamCamera)
}

// The log says which camera was taken, in which mode, and what cannot be.
func TestRpicamRemarks(t *testing.T) {
	p := newSensor(t, "", "")
	p.answered(sensorLists["imx219"] + "1" + strings.TrimPrefix(sensorLists["imx477"], "0"))
	c := mustOpen(t, p, settings{camera: "pi:1", width: 1280, height: 720, fps: 25, quality: 80, set: parseSettings("exposure_time_absolute=500")})
	var log []string
	c.setLog(func(line string) { log = append(log, line) })
	want := []string{
		"Raspberry Pi camera imx477: sensor mode 2028x1520, whole field of view, up to 40 fps; 1280x720 cuts off 25 % of the height: 1280x960 shows all",
		"Raspberry Pi camera imx477: exposure_time_absolute=500 is longer than pictures at 25 fps last, which is 400: choose fewer with -fps",
		"Raspberry Pi camera imx477: took pi:1 of pi:0 (imx219), pi:1 (imx477); choose with -camera",
	}
	if !slices.Equal(log, want) {
		t.Errorf("got  %q\nwant %q", log, want)
	}
}

// What the help text does not have is not even tried.
func TestRpicamHelp(t *testing.T) {
	p := newUnasked(t, sensorLists["imx708"], `Valid options are:
  -h [ --help ] [=arg(=1)] (=0)         Print this help message
  -t [ --timeout ] arg (=5000)          Time (in ms) for which program runs
  --codec arg (=h264)
  --width arg (=0)
  --height arg (=0)
  --framerate arg (=30)                 Set the fixed framerate
  --mode arg                            Camera mode as W:H:bit-depth:packing
`)
	c := mustOpen(t, p, settings{camera: "pi", width: 640, height: 480, quality: 80})
	const want = "-t 0 -n --codec mjpeg -q 80 --width 640 --height 480 --framerate 30 -o - --mode 2304:1296:10:P"
	if got := strings.Join(c.argv[1:], " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What the program ends with becomes a sentence that says what to do.
func TestRpicamErrors(t *testing.T) {
	for complaint, want := range map[string]string{
		"ERROR: *** no cameras available ***":                                       "no camera answers at the flat cable: ",
		"ERROR: *** failed to acquire camera /base/soc/i2c0mux/i2c@1/imx219@10 ***": "in use by another program: ",
		"ERROR: *** failed to allocate capture buffers for stream ***":              "not enough memory for the camera: ",
		"ERROR: the system appears to be configured for the legacy camera stack":    "the system is set up for the legacy camera stack: ",
		"ERROR: *** selected camera is not available ***":                           "there is no such camera: ",
	} {
		c := mustOpen(t, newSensor(t, "imx219", "echo '"+complaint+"' >&2; exit 255"), settings{camera: "pi", width: 640, height: 480, quality: 80})
		_, _, err := c.Capture(t.Context(), nil)
		c.Close()
		if err == nil || !strings.HasPrefix(err.Error(), "Raspberry Pi camera imx219: "+want) || maybeNoCamera(err) {
			t.Errorf("%s: got error %v, want %s", complaint, err, want)
		}
	}
}

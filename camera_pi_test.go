//go:build linux && (arm || arm64)

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"porthole/mjpeg/mjpegtest"
	"porthole/v4l2/v4l2test"
)

// aPi is sysfs on a Pi Zero with a camera, as far as we read it.
var aPi = map[string]string{
	"firmware/devicetree/base/model":      "Raspberry Pi Zero W Rev 1.1\x00",
	"class/video4linux/video0/name":       "unicam-image\n",
	"class/video4linux/video10/name":      "bcm2835-codec-decode\n",
	"class/video4linux/v4l-subdev0/name":  "imx219 10-0010\n",
	"class/video4linux/v4l-subdev10/name": "csi2\n",
}

// answered makes a board know what the program has answered: this list.
func (p *pi) answered(list string) {
	if path := findProgram(); path != "" {
		p.program = &piProgram{Key: programKey(path, p.sensors()), Sensors: list, path: path}
	}
}

// newPi returns the driver for a board with these files in sysfs and no video nodes. Unless
// program is "", a program of that name is on PATH, which runs the script.
func newPi(t *testing.T, files map[string]string, program, script string) driver {
	t.Helper()
	p := newBoard(t, files, program, script)
	p.answered("")
	return piDriver(p)
}

// newBoard returns such a board, whose program lists what is in the files "list" and "help" beside
// it.
func newBoard(t *testing.T, files map[string]string, program, script string) *pi {
	t.Helper()
	sysfs := t.TempDir()
	for path, content := range files {
		path = filepath.Join(sysfs, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if program != "" {
		dir = filepath.Dir(standIn(t, program, `case "$*" in
			--list-cameras) echo asked >>asked; cat list; exit;;
			--help) cat help; exit;;
			esac
			`+script))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return &pi{sysfs: sysfs, kernel: &v4l2test.Board{}, caches: []string{t.TempDir()}, simd: true}
}

// without returns aPi without some of its files.
func without(pattern string) map[string]string {
	files := make(map[string]string)
	for path, content := range aPi {
		if !strings.Contains(path, pattern) {
			files[path] = content
		}
	}
	return files
}

func TestPiFound(t *testing.T) {
	pc := without("model")
	pc["firmware/devicetree/base/model"] = "Orange Pi Zero\x00"
	lens := without("v4l-subdev0")
	lens["class/video4linux/v4l-subdev0/name"] = "dw9807 10-000c\n"
	lens["class/video4linux/v4l-subdev1/name"] = "imx708 10-001a\n"
	strange := without("v4l-subdev0")
	strange["class/video4linux/v4l-subdev0/name"] = "im\x1b[2Jx219 10-0010\n"
	for _, test := range []struct {
		name    string
		camera  string
		files   map[string]string
		program string
		want    string // its name, or the error
	}{
		{"a Pi Zero", "auto", aPi, "rpicam-vid", "Raspberry Pi camera imx219"},
		{"an older system", "auto", aPi, "libcamera-vid", "Raspberry Pi camera imx219"},
		{"a sensor with control characters", "auto", strange, "rpicam-vid", "Raspberry Pi camera im[2Jx219"},
		{"a lens in front of the sensor", "auto", lens, "rpicam-vid", "Raspberry Pi camera imx708"},
		{"no sensor", "auto", without("v4l-subdev0"), "rpicam-vid", noAnswer},
		{"no sensor, asked for", "pi", without("v4l-subdev0"), "rpicam-vid", "Raspberry Pi camera"},
		{"no program", "auto", aPi, "", "the camera at the flat cable needs rpicam-vid: sudo apt install rpicam-apps"},
		{"no program, asked for", "pi", aPi, "", "the camera at the flat cable needs rpicam-vid: sudo apt install rpicam-apps"},
		{"another board", "auto", pc, "rpicam-vid", "no camera found at the flat cable of a Raspberry Pi"},
		{"another board, asked for", "pi", pc, "rpicam-vid", "Raspberry Pi camera imx219"},
		{"no device tree", "auto", without("firmware"), "rpicam-vid", "no camera found at the flat cable of a Raspberry Pi"},
		{"a device", "/dev/video0", aPi, "rpicam-vid", "/dev/video0: no camera of this driver"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pi := newPi(t, test.files, test.program, "")
			want := settings{camera: test.camera, width: 640, height: 480, quality: 80}
			cam, err := pi.open(want.device(), want)
			if err != nil {
				if err.Error() != test.want || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got error %q, want %q, which matches fs.ErrNotExist", err, test.want)
				}
				return
			}
			if info := cam.Info(); info.Name != test.want || info.Driver != test.program {
				t.Errorf("got %q by %q, want %q by %q", info.Name, info.Driver, test.want, test.program)
			}
			if err := cam.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPiArguments(t *testing.T) {
	pi := newPi(t, aPi, "rpicam-vid", "echo $@ >arguments; cat b.jpg; exec sleep 1000")
	cam, err := pi.open("", settings{camera: "auto", width: 1281, height: 720, fps: 7.5, quality: 60})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	c := &cam.(*rpicamCamera).pipeCamera
	c.wantCapture(t, c.file(t, "b.jpg"))
	got := c.file(t, "arguments")
	want := "-t 0 -n --verbose=0 --codec mjpeg -q 60 --width 1280 --height 720 --framerate 15 --flush -o -\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got, want := cam.Info().String(), "Raspberry Pi camera imx219: 1280x720 MJPG, encoded by rpicam-vid"; got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
}

// Controls turn the picture of the firmware's camera, and arguments that of the program.
func TestPiTurned(t *testing.T) {
	pi := newPi(t, aPi, "rpicam-vid", "")
	for _, test := range []struct {
		name string
		set  []controlSetting
		want string // the last arguments, or the error
	}{
		{"not", []controlSetting{{"rotate", "0", false}, {"horizontal_flip", "off", false}, {"vertical_flip", "0", false}}, "-o -"},
		{"upside down", []controlSetting{{"rotate", "180", false}}, "-o - --rotation 180"},
		{"mirrored", []controlSetting{{"Horizontal Flip", "on", false}, {"vertical_flip", "1", false}}, "-o - --hflip --vflip"},
		{"on its side", []controlSetting{{"rotate", "90", false}}, "Raspberry Pi camera imx219: rotate=90: must be from 0 to 180 in steps of 180 (default 0)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cam, err := pi.open("", settings{camera: "auto", width: 640, height: 480, quality: 80, set: test.set})
			if err != nil {
				if err.Error() != test.want || errors.Is(err, fs.ErrNotExist) {
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

// A camera that libcamera does not know does not keep others from being used.
func TestPiRefused(t *testing.T) {
	pi := newPi(t, aPi, "rpicam-vid", "echo 'ERROR: *** no cameras available ***' >&2; exit 255")
	want := settings{camera: "auto", width: 640, height: 480, quality: 80}
	cam, err := pi.open("", want)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = cam.Capture(t.Context(), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "Raspberry Pi camera imx219: no camera answers at the flat cable: ") {
		t.Errorf("got error %v, want one about the flat cable", err)
	}
	cam.Close()
	if _, err := pi.open("", want); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened again: got error %v, want one that matches fs.ErrNotExist", err)
	}
	want.camera = "pi"
	if _, err := pi.open("", want); err != nil {
		t.Errorf("asked for: %v", err)
	}
}

// A board without a camera says so, and what to do if there is one.
func TestPiAbsent(t *testing.T) {
	h := thisHost
	h.drivers = withoutDevices(newPi(t, without("v4l-subdev0"), "rpicam-vid", ""))
	p := beginOn(t, h, "-listen", "127.0.0.1:0")
	p.logged(t, "no real one was found ("+noAnswer+")")
}

// The whole program shows the camera, and again after its program died.
func TestPiPlays(t *testing.T) {
	h := thisHost
	h.drivers = withoutDevices(newPi(t, aPi, "rpicam-vid", "echo INFO Camera libcamera v0.5.2 >&2; for i in 1 2 3 4 5 6 7 8 9; do cat b.jpg; sleep 0.1; done; echo dying >&2; exit 9"))
	p := beginOn(t, h, "-listen", "127.0.0.1:0", "-camera", "pi")
	p.logged(t, "camera: Raspberry Pi camera imx219: 640x480 MJPG")
	conn := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	defer conn.Close()
	parts, err := readStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	small := mjpegtest.SmallJPEG(t)
	live := mjpegtest.InsertAfterSOI(testJPEG(50_000, 'b'), mjpegtest.Segment(0xe1, small))
	var seen []string
	for len(seen) < 3 {
		_, jpeg := nextPart(t, parts)
		what := "something else"
		switch string(jpeg) {
		case string(sent(live)):
			what = "live"
		case string(sent(lostPicture)):
			what = "lost"
		}
		if len(seen) == 0 || seen[len(seen)-1] != what {
			seen = append(seen, what)
		}
	}
	if want := []string{"live", "lost", "live"}; !slices.Equal(seen, want) {
		t.Errorf("a viewer saw %q, want %q", seen, want)
	}
	p.logged(t, "rpicam-vid: INFO Camera libcamera v0.5.2")
	p.logged(t, "rpicam-vid ended: exit status 9: dying")
	if got := p.stop(); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	wantNoChildren(t)
}

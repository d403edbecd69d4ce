//go:build linux && (arm || arm64)

package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"porthole/testdata/rpicam/card"
	"porthole/testdata/skip"
)

// buildRpicam builds the stand-in for rpicam-vid for the machine that runs it, which may emulate
// the one that the test is built for.
var buildRpicam = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rpicam")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-o", dir, "./testdata/rpicam")
	cmd.Env = append(os.Environ(), "GOARCH=", "GOARM=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(filepath.Join(dir, "rpicam"))
})

// realistic returns a board with the stand-in, which goes by a name and has some cameras. Each
// start adds its arguments to the file "record" beside it.
func realistic(t *testing.T, name, cameras string) *pi {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		skip.Test(t, "there is no go command to build the stand-in for rpicam-vid", "install Go")
	}
	program, err := buildRpicam()
	if err != nil {
		t.Fatalf("%v: %s", err, program)
	}
	p := newBoard(t, aPi, name, "")
	path := findProgram()
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RPICAM_CAMERAS", cameras)
	t.Setenv("RPICAM_RECORD", filepath.Join(filepath.Dir(path), "record"))
	return p
}

// window returns which part of the sensor's field a picture shows.
func window(t *testing.T, picture []byte) card.Window {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	f, ok := card.Read(m)
	if !ok {
		t.Fatal("it is not the test card")
	}
	return f.Window
}

func TestRpicamView(t *testing.T) {
	for _, test := range []struct {
		camera, sensor string
		width, height  int
		fps            float64
		set            string
		want           card.Window
		turn           turn
	}{
		{"pi", "imx219", 640, 480, 0, "", card.Whole, turn{}},
		{"pi", "ov5647", 640, 480, 0, "", card.Whole, turn{}},
		{"pi", "imx477", 640, 480, 0, "", card.Whole, turn{}},
		{"pi", "imx708", 640, 360, 0, "", card.Whole, turn{}},
		{"pi", "imx708", 640, 480, 0, "", card.Window{Left: 0.125, Top: 0, Right: 0.875, Bottom: 1}, turn{}},
		{"pi", "imx219", 640, 480, 0, "mode=640x480", card.Window{Left: 0.305, Top: 0.305, Right: 0.695, Bottom: 0.695}, turn{}},
		{"pi", "imx219", 640, 480, 0, "rotate=180", card.Window{Left: 1, Top: 1, Right: 0, Bottom: 0}, turn{}},
		{"pi", "imx219", 640, 480, 0, "horizontal_flip=on", card.Window{Left: 1, Top: 0, Right: 0, Bottom: 1}, turn{}},
		{"pi", "imx219", 640, 480, 0, "", card.Window{Left: 1, Top: 1, Right: 0, Bottom: 0}, turn{180, ""}},
		{"pi", "imx219", 640, 480, 0, "", card.Window{Left: 0, Top: 1, Right: 1, Bottom: 0}, turn{0, "v"}},
		{"pi", "imx219", 640, 480, 90, "", card.Whole, turn{}}, // faster than any mode that sees everything
		{"pi:1", "imx219,imx708", 640, 480, 0, "", card.Window{Left: 0.125, Top: 0, Right: 0.875, Bottom: 1}, turn{}},
		{"pi:imx219", "imx708,imx219", 640, 480, 0, "", card.Whole, turn{}},
	} {
		t.Run(test.camera+" "+test.sensor+" "+test.set, func(t *testing.T) {
			p := realistic(t, "rpicam-vid", test.sensor)
			c := mustOpen(t, p, settings{camera: test.camera, turn: test.turn, width: test.width, height: test.height, fps: test.fps, quality: 80, set: parseSettings(test.set)})
			defer c.Close()
			picture, _, err := c.Capture(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := window(t, picture); !got.Near(test.want, 0.02) {
				t.Errorf("it shows %+v, want %+v", got, test.want)
			}
		})
	}
}

// All versions show the whole picture, with all that they know of what was asked.
func TestRpicamVersions(t *testing.T) {
	versions := []string{"0.0", "1.0.0", "1.1.0", "1.3.0", "1.12.0"}
	for i, version := range versions {
		t.Run(version, func(t *testing.T) {
			name := "rpicam-vid"
			if i < slices.Index(versions, "1.3.0") {
				name = "libcamera-vid"
			}
			p := realistic(t, name, "imx708")
			p.memory = 512 << 20
			t.Setenv("RPICAM_VERSION", version)
			c := mustOpen(t, p, settings{camera: "pi", width: 640, height: 360, quality: 80, set: parseSettings(
				"exposure_time_absolute=100 analogue_gain=200 auto_exposure_bias=300 power_line_frequency=1 white_balance_auto_preset=8 " +
					"brightness=10 contrast=110 saturation=90 sharpness=120 denoise=off focus_absolute=200 auto_focus_range=macro rotate=180")})
			defer c.Close()
			picture, _, err := c.Capture(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := window(t, picture); !got.Near(card.Window{Left: 1, Top: 1, Right: 0, Bottom: 0}, 0.02) {
				t.Errorf("it shows %+v, want everything, upside down", got)
			}
			args := strings.Join(c.argv, " ")
			for option, since := range map[string]string{
				"--mode": "0.0", "--shutter": "0.0", "--awb": "0.0", "--sharpness": "0.0",
				"--buffer-count": "1.1.0", "--lens-position": "1.1.0", "--autofocus-mode": "1.1.0", "--autofocus-range": "1.1.0", "--flicker-period": "1.3.0",
			} {
				if got, want := strings.Contains(args, option+" "), i >= slices.Index(versions, since); got != want {
					t.Errorf("%s is used: %v, want %v", option, got, want)
				}
			}
		})
	}
}

// post changes settings of p, and returns the answer.
func (p *program) post(t *testing.T, body string) (status int, answer string) {
	t.Helper()
	response, err := http.Post(p.url+"/settings", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode, text(t, response)
}

// A viewer changes a control: the program starts again with it, and nobody sees that the camera
// is lost. What the program refuses is taken back, and the reason is told.
func TestRpicamChanged(t *testing.T) {
	t.Setenv("RPICAM_START", "1s")
	t.Setenv("RPICAM_VERSION", "1.2.1") // its --hdr takes a number
	h := thisHost
	h.drivers = withoutDevices(piDriver(realistic(t, "libcamera-vid", "imx219")))
	p := beginOn(t, h, "-listen", "127.0.0.1:0", "-camera", "pi")
	conn := dial(t, p.address, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	defer conn.Close()
	parts, err := readStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	var longest time.Duration // from one frame to the next
	last, at := 0, time.Now()
	await := func(what string, shown func(card.Window) bool) {
		t.Helper()
		for range 2000 {
			number, picture := nextPart(t, parts)
			if bytes.Equal(picture, sent(lostPicture)) {
				t.Fatalf("%s: the camera is lost", what)
			}
			if number != last {
				longest, last, at = max(longest, time.Since(at)), number, time.Now()
			}
			if shown(window(t, picture)) {
				return
			}
		}
		t.Fatalf("%s: it is never seen", what)
	}
	whole := func(w card.Window) bool { return w.Near(card.Whole, 0.02) }
	mirrored := func(w card.Window) bool { return w.Left > w.Right }
	await("at first", whole)
	longest = 0
	for _, test := range []struct {
		name string
		body string
		then func(card.Window) bool
	}{
		{"mirrored", `{"controls":{"horizontal_flip":true}}`, mirrored},
		{"as it was", `{"reset":true}`, whole},
		{"zoomed", `{"controls":{"mode":"640x480"}}`, func(w card.Window) bool { return w.Left > 0.2 }},
		{"no longer", `{"controls":{"mode":"default"}}`, whole},
	} {
		if status, answer := p.post(t, test.body); status != 200 {
			t.Fatalf("%s: %s", test.body, answer)
		}
		await(test.name, test.then)
	}
	t.Logf("longest gap: %v", longest)
	if status, answer := p.post(t, `{"controls":{"brightness":101}}`); status != 400 || !strings.Contains(answer, "must be from -100 to 100") {
		t.Errorf("a wrong value: got status %d, %s", status, answer)
	}
	p.post(t, `{"controls":{"hdr":"sensor"}}`)
	p.logged(t, "back to what worked")
	await("after a value that it refuses", whole)
	var s struct {
		Refused  string
		Controls []controlState
	}
	response, err := http.Get(p.url + "/settings")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Refused, "not hdr=sensor: libcamera-vid ended: ") {
		t.Errorf("got refused %q, want hdr=sensor and why", s.Refused)
	}
	for _, c := range s.Controls {
		if c.Name == "hdr" && c.Value != 0 {
			t.Errorf("hdr is %d, want what it was", c.Value)
		}
	}
}

// A snapshot from a camera that was released is settled, at any rate, and so is one of the
// sensor's full size. How long it takes is logged: 2 s is what programs for timelapses wait.
func TestRpicamSnapshot(t *testing.T) {
	t.Setenv("RPICAM_START", "1s")
	t.Setenv("RPICAM_SETTLE", "10")
	for _, fps := range []string{"1", "9", "30"} {
		h := thisHost
		h.drivers = withoutDevices(piDriver(realistic(t, "rpicam-vid", "imx219")))
		p := beginOn(t, h, "-listen", "127.0.0.1:0", "-camera", "pi", "-fps", fps, "-idle", "100ms")
		for _, test := range []struct {
			path          string
			width, height int
		}{
			{"/snapshot", 640, 480},
			{"/snapshot?size=max", 3280, 2464},
		} {
			start := time.Now()
			response, err := http.Get(p.url + test.path)
			if err != nil {
				t.Fatal(err)
			}
			m, err := jpeg.Decode(response.Body)
			response.Body.Close()
			if err != nil {
				t.Fatalf("-fps %s, %s: %s: %v", fps, test.path, response.Status, err)
			}
			t.Logf("-fps %s, %s: %v", fps, test.path, time.Since(start))
			if got := m.Bounds().Size(); got != image.Pt(test.width, test.height) {
				t.Errorf("-fps %s, %s: got %v, want %dx%d", fps, test.path, got, test.width, test.height)
			}
			if f, ok := card.Read(m); !ok || !f.Settled || !f.Window.Near(card.Whole, 0.02) {
				t.Errorf("-fps %s, %s: got %+v, %v; want all of a settled picture", fps, test.path, f, ok)
			}
			eventually(t, "the camera is released", func() bool { return stateOf(t, p)["mode"] == "idle" })
		}
		// Not a smaller mode that is faster, and whose pictures are made larger.
		record, err := os.ReadFile(os.Getenv("RPICAM_RECORD"))
		if err != nil || !strings.Contains(string(record), "--mode 3280:2464:") {
			t.Errorf("-fps %s: it was never started with the largest mode: %s, error %v", fps, record, err)
		}
	}
}

// Another program that has the camera is told of.
func TestRpicamInUse(t *testing.T) {
	p := realistic(t, "rpicam-vid", "imx219")
	t.Setenv("RPICAM_LOCK", filepath.Join(t.TempDir(), "lock"))
	want := settings{camera: "pi", width: 640, height: 480, quality: 80}
	first := mustOpen(t, p, want)
	defer first.Close()
	if _, _, err := first.Capture(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	second := mustOpen(t, p, want)
	defer second.Close()
	_, _, err := second.Capture(t.Context(), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "Raspberry Pi camera imx219: in use by another program: ") {
		t.Errorf("got error %v, want that it is in use", err)
	}
}

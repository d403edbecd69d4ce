package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A picture is flipped first, and then turned.
func TestOrientation(t *testing.T) {
	reversed := func(s string) string {
		b := []byte(s)
		slices.Reverse(b)
		return string(b)
	}
	flip := map[string]func(rows []string){
		"": func([]string) {},
		"h": func(rows []string) {
			for i, row := range rows {
				rows[i] = reversed(row)
			}
		},
		"v": func(rows []string) { slices.Reverse(rows) },
	}
	quarter := func(rows []string) (turned []string) { // clockwise
		for x := range rows[0] {
			var row string
			for y := len(rows) - 1; y >= 0; y-- {
				row += rows[y][x : x+1]
			}
			turned = append(turned, row)
		}
		return turned
	}
	// What pictures of an orientation show: 0112 of Exif 2.3 tells where row and column 0 are.
	exif := map[string]int{
		"123/456": 1, "321/654": 2, "654/321": 3, "456/123": 4, "14/25/36": 5, "41/52/63": 6, "63/52/41": 7, "36/25/14": 8,
	}
	for name, flip := range flip {
		rows := []string{"123", "456"}
		flip(rows)
		for rotate := 0; rotate < 360; rotate += 90 {
			shown := strings.Join(rows, "/")
			if got := (turn{rotate, name}).orientation(); got != exif[shown] {
				t.Errorf("rotate %d, flip %q: got orientation %d, want %d, which shows %s", rotate, name, got, exif[shown], shown)
			}
			rows = quarter(rows)
		}
	}
}

// orientationOf returns the orientation that a JPEG asks for, of those that porthole writes.
func orientationOf(picture []byte) int {
	const before = "\xff\xd8\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"
	if !bytes.HasPrefix(picture, []byte(before)) {
		return 1
	}
	return int(picture[len(before)])
}

// The turn is told and changed, and sizes in settings are those of the camera before it.
func TestSettingsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := settings{camera: "emulated", width: 640, height: 480, fps: 10, quality: 80, turn: turn{90, ""}}
		k, _ := startSupervising(t, want, time.Second)
		send := sender(k)
		v := newViewer(t, k.stream, 0)
		for _, test := range []struct {
			body, want  string
			orientation int
		}{
			{"quality=70", `"rotate":90,"flip":""`, 6},
			{"rotate=270&flip=h", `"rotate":270,"flip":"h"`, 5},
			{`{"rotate":180}`, `"rotate":180,"flip":"h"`, 4},
			{`{"flip":""}`, `"rotate":180,"flip":""`, 3},
			{"rotate=0&flip=v", `"rotate":0,"flip":"v"`, 4},
			{"flip=", `"rotate":0,"flip":""`, 1},
			{`{"rotate":270.0,"flip":"v"}`, `"rotate":270,"flip":"v"`, 7},
			{"size=640x480&rotate=90", `"rotate":90,"flip":"v"`, 5},
			{"reset=1", `"rotate":90,"flip":""`, 6},
		} {
			got := strings.Join(strings.Fields(send(test.body)), "")
			time.Sleep(time.Second)
			if !strings.HasPrefix(got, `200{"size":"640x480",`+test.want+",") {
				t.Errorf("%s: got %s, want %s", test.body, got, test.want)
			}
			width, height := want.turn.size(640, 480)
			if test.orientation <= 4 {
				width, height = 640, 480
			}
			f := k.stream.newest()
			if got := orientationOf(f.jpeg); got != test.orientation {
				t.Errorf("%s: got orientation %d, want %d", test.body, got, test.orientation)
			}
			f.release()
			if st := k.currentStatus(); st.Width != width || st.Height != height || !k.hasSize(640, 480) || width != 640 && k.hasSize(480, 640) {
				t.Errorf("%s: the state has %dx%d, want %dx%d", test.body, st.Width, st.Height, width, height)
			}
			if got, want := k.settings().Size, "640x480"; got != want {
				t.Errorf("%s: then the size is %s, want %s", test.body, got, want)
			}
		}
		if err := v.ended(); err != nil {
			t.Errorf("the viewer was disconnected: %v", err)
		}
	})
}

func TestSettingsTurnWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := startSupervising(t, settings{camera: "emulated", width: 640, height: 480, quality: 80, turn: turn{90, ""}}, time.Second)
		send := sender(k)
		for body, want := range map[string]string{
			"rotate=45":                         "400 rotate=45: must be 0, 90, 180 or 270",
			"rotate=":                           "400 rotate=: must be 0, 90, 180 or 270",
			"rotate=-90&flip=h":                 "400 rotate=-90: must be 0, 90, 180 or 270",
			`{"rotate":360,"flip":"v"}`:         "400 rotate=360: must be 0, 90, 180 or 270",
			`{"rotate":180,"flip":"hv"}`:        "400 flip=hv: must be h, v or nothing",
			"flip=none":                         "400 flip=none: must be h, v or nothing",
			`{"rotate":90.5}`:                   "400 rotate=90.5: must be 0, 90, 180 or 270",
			"rotate=180&size=1x1":               "400 size=1x1: must be a width and a height in pixels, like 640x480",
			`{"rotate":180,"controls":{"x":1}}`: "400 x=1: the emulated camera has no controls",
		} {
			if got := send(body); got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", body, got, want)
			}
			if s := k.settings(); s.Rotate != 90 || s.Flip != "" {
				t.Errorf("%s: then rotate is %d and flip %q", body, s.Rotate, s.Flip)
			}
		}
	})
}

// A turn that a camera does not take is undone.
func TestTurnRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCamera{begin: time.Now(), device: "/dev/fake0"}
		d := c.driver()
		d.open = func(device string, want settings) (camera, error) {
			if want.rotate == 90 {
				return nil, &advisedError{"no memory", nil}
			}
			return c.open(device, want)
		}
		k, _ := startSupervising(t, settings{camera: "auto", width: 640, height: 480, turn: turn{180, "v"}}, time.Second, d)
		newViewer(t, k.stream, 0)
		time.Sleep(time.Second)
		if err := k.apply(settingsChange{Rotate: new(json.Number("90")), Flip: new("")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s, want := k.settings(), "not rotate=90, flip=: no memory"; s.Rotate != 180 || s.Flip != "v" || s.Refused != want {
			t.Errorf("rotate is %d, flip %q, refused %q; want 180, v and %q", s.Rotate, s.Flip, s.Refused, want)
		}
	})
}

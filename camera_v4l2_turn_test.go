//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"porthole/mjpeg/mjpegtest"
	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// flippable returns a camera with controls that flip its pictures, as they were left.
func flippable(h, v int64) *v4l2test.Camera {
	k := v4l2test.NewCamera()
	k.Controls = []*v4l2test.Control{
		{ID: v4l2test.Brightness, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Brightness", Max: 255, Step: 1, Default: 128, Value: 128},
		{ID: v4l2.HFlip, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Horizontal Flip", Max: 1, Step: 1, Value: h},
		{ID: v4l2.VFlip, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Vertical Flip", Max: 1, Step: 1, Value: v},
	}
	k.Show(picture1)
	k.Endless = true
	return k
}

// flipsOf returns the values of the two controls.
func flipsOf(k *v4l2test.Camera) string {
	return fmt.Sprint(k.Control("horizontal_flip").Value, k.Control("vertical_flip").Value)
}

// A camera flips its pictures itself if it can do the whole turn. What nobody asks for stays as it was.
func TestV4L2Turn(t *testing.T) {
	readOnly := func(k *v4l2test.Camera) { k.Control("vertical_flip").Flags = uapi.V4L2_CTRL_FLAG_READ_ONLY }
	without := func(k *v4l2test.Camera) { k.Controls = k.Controls[:2] }
	refused := func(k *v4l2test.Camera) {
		k.Control("vertical_flip").Refuse = func() error { return unix.EBUSY }
	}
	as := func(*v4l2test.Camera) {}
	for _, test := range []struct {
		name        string
		turn        turn
		left, set   string
		change      func(k *v4l2test.Camera)
		open        string // the controls while it is open
		orientation int    // of the JPEGs
		closed      string
	}{
		{"none", turn{}, "1 0", "", as, "1 0", 1, "1 0"},
		{"mirrored", turn{0, "h"}, "0 0", "", as, "1 0", 1, "0 0"},
		{"mirrored, left otherwise", turn{0, "h"}, "0 1", "", as, "1 0", 1, "0 0"},
		{"upside down", turn{0, "v"}, "0 0", "", as, "0 1", 1, "0 0"},
		{"half a turn", turn{180, ""}, "1 1", "", as, "1 1", 1, "0 0"},
		{"half a turn, mirrored", turn{180, "h"}, "0 0", "", as, "0 1", 1, "0 0"},
		{"a quarter", turn{90, ""}, "0 0", "", as, "0 0", 6, "0 0"},
		{"a quarter, left otherwise", turn{270, "h"}, "1 0", "", as, "1 0", 5, "1 0"},
		{"set by the user", turn{180, ""}, "0 0", "horizontal_flip=1", as, "1 0", 3, "1 0"},
		{"set by the user to nothing", turn{180, ""}, "0 1", "Vertical-Flip=0", as, "0 0", 3, "0 0"},
		{"one can only be read", turn{180, ""}, "0 0", "", readOnly, "0 0", 3, "0 0"},
		{"only one", turn{0, "h"}, "0 0", "", without, "0 0", 2, "0 0"},
		{"refused", turn{180, ""}, "0 0", "", refused, "0 0", 3, "0 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h, v int64
			fmt.Sscan(test.left, &h, &v)
			k := flippable(h, v)
			k.Formats = []string{"MJPG"}
			all := k.Controls
			test.change(k)
			flips := func() string { return flipsOf(&v4l2test.Camera{Controls: all}) }
			want := setting(t, test.set)
			want.turn = test.turn
			c, err := openNode(k, fakePath, want)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // it is set again when the camera starts
				if got := flips(); got != test.open {
					t.Errorf("the controls are %s, want %s", got, test.open)
				}
				if picture, err := captureOne(c); err != nil || orientationOf(picture) != test.orientation {
					t.Errorf("got orientation %d, error %v; want %d", orientationOf(picture), err, test.orientation)
				}
			}
			width, height := test.turn.size(smallSize.width, smallSize.height)
			if got, want := c.Info().String(), fmt.Sprintf(": %dx%d MJPG", width, height); !strings.Contains(got, want) {
				t.Errorf("it is %s, want %s", got, want)
			}
			if err := c.Close(); err != nil || flips() != test.closed {
				t.Errorf("closed with error %v, the controls are %s, want %s", err, flips(), test.closed)
			}
			k.CheckReleased(t)
		})
	}
}

// A refusal is no reason to show nothing. The log says it.
func TestV4L2TurnRefused(t *testing.T) {
	k := flippable(0, 0)
	k.Control("vertical_flip").Refuse = func() error { return unix.EIO }
	c, err := openNode(k, fakePath, settings{width: 320, height: 180, quality: 80, turn: turn{180, ""}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var logged []string
	c.(logSetter).setLog(func(line string) { logged = append(logged, line) })
	if want := fakePath + ": it does not flip its pictures itself: vertical_flip=1: "; len(logged) != 1 || !strings.HasPrefix(logged[0], want) {
		t.Errorf("got log %q, want %s", logged, want)
	}
}

// While a camera turns its pictures itself, the controls for that are nobody's, also when all is reset.
func TestV4L2TurnReserved(t *testing.T) {
	k := flippable(0, 0)
	turned := smallSize
	turned.turn = turn{180, ""}
	c, err := openNode(k, fakePath, turned)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sv := newSupervisor(newStream(1, thisHost.sockets), thisHost.drivers, turned, 0, log.New(io.Discard, "", 0))
	sv.setLive(c, 0)
	for _, control := range sv.settings().Controls {
		if got, want := control.ReadOnly, strings.HasSuffix(control.Name, "_flip"); got != want {
			t.Errorf("%s: read only %v, want %v", control.Name, got, want)
		}
	}
	send := sender(sv)
	if got, want := send("horizontal_flip=0"), "400 horizontal_flip=0: this control can only be read"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	send("reset=1")
	want, _ := sv.wanted()
	if got := flipsOf(k); got != "1 1" || len(want.set) > 0 {
		t.Errorf("after a reset the controls are %s, and %v is to be set; want 1 1 and nothing", got, want.set)
	}
}

// Raw pictures are turned where they are encoded.
func TestV4L2TurnRaw(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Formats, k.BufferSize = []string{"YUYV"}, 320*180*2
	scene := mjpegtest.Scene{Width: 320, Height: 180, Color: func(x, y int) color.YCbCr { return color.YCbCr{Y: uint8(x/2 + y/2), Cb: 128, Cr: 128} }}
	k.Show(scene.Draw("YUYV", 640))
	c, err := openNode(k, fakePath, settings{width: 320, height: 180, quality: 90, turn: turn{90, ""}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Info().String(); !strings.Contains(got, ": 180x320 YUYV") {
		t.Errorf("it is %s, want 180x320", got)
	}
	picture, err := captureOne(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Size() != image.Pt(180, 320) {
		t.Fatalf("the picture is %v", m.Bounds())
	}
	for _, p := range []image.Point{{0, 0}, {179, 0}, {0, 319}, {90, 200}} {
		want := scene.Color(p.Y, 179-p.X).Y
		if got := m.(*image.YCbCr).Y[m.(*image.YCbCr).YOffset(p.X, p.Y)]; mjpegtest.Distance(got, want) > 8 {
			t.Errorf("at %v: got %d, want about %d", p, got, want)
		}
	}
}

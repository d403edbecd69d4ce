package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"time"

	"porthole/mjpeg"
)

// The pictures are made by static/draw.go.
var (
	//go:embed static/1.jpg
	picture1 []byte
	//go:embed static/2.jpg
	picture2 []byte
	//go:embed static/3.jpg
	picture3 []byte
)

func init() {
	register(driver{name: "emulated", rank: 100, open: openEmulated})
}

// emulatedCamera plays three pictures in turn, one a second unless a rate was asked for. It
// runs anywhere and cannot fail.
type emulatedCamera struct {
	pictures [3][]byte
	n        int // pictures captured
	turn     turn
	fps      float64
	ticker   *time.Ticker
}

// openEmulated opens the emulated camera. If it only plays in place of a real one, controls to
// set are meant for that.
func openEmulated(_ string, want settings) (camera, error) {
	if want.camera == "emulated" && len(want.set) > 0 {
		return nil, fmt.Errorf("-set %v: the emulated camera has no controls", want.set[0])
	}
	return newEmulatedCamera(want.fps, want.turn), nil
}

// newEmulatedCamera returns one with a rate in frames per second, 0 is 1, and pictures that are
// turned.
func newEmulatedCamera(fps float64, turned turn) *emulatedCamera {
	fps = cmp.Or(fps, 1)
	c := &emulatedCamera{
		pictures: [3][]byte{picture1, picture2, picture3},
		turn:     turned,
		fps:      fps,
		ticker:   time.NewTicker(interval(fps)),
	}
	if r := (mjpeg.Repairer{Orientation: turned.orientation()}); r.Orientation > 1 {
		for i, picture := range c.pictures {
			c.pictures[i], _ = r.Append(nil, picture)
		}
	}
	return c
}

// Capture appends the next picture when it is due; the first is due at once.
func (c *emulatedCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	if c.n > 0 {
		select {
		case <-c.ticker.C:
		case <-ctx.Done():
			return dst, time.Time{}, ctx.Err()
		}
	}
	picture := c.pictures[c.n%len(c.pictures)]
	c.n++
	return append(dst, picture...), time.Now(), nil
}

func (c *emulatedCamera) Info() cameraInfo {
	width, height := c.turn.size(640, 480)
	return cameraInfo{
		Name:   "emulated camera",
		Driver: "emulated",
		Format: "JPEG", Encoder: encoderCamera,
		Width:  width,
		Height: height,
		FPS:    c.fps,
	}
}

func (c *emulatedCamera) choices() choices {
	return choices{Sizes: []string{"640x480"}, check: c.setControls}
}

func (c *emulatedCamera) setControls(set []controlSetting) error {
	if len(set) > 0 {
		return fmt.Errorf("%v: the emulated camera has no controls", set[0])
	}
	return nil
}

func (c *emulatedCamera) Close() error {
	c.ticker.Stop()
	return nil
}

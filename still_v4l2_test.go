//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"fmt"
	"testing"
	"time"

	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// A USB camera is set to its largest size for a still, and back.
func TestBoardStill(t *testing.T) {
	var sizes []string
	k := webcam("HD Webcam", "usb-1")
	k.Sizes = [][2]uint32{{640, 480}, {1280, 960}, {320, 240}}
	k.Grant = func(asked *uapi.PixFormat) { sizes = append(sizes, fmt.Sprintf("%dx%d", asked.Width, asked.Height)) }
	onBoard(t, "auto", map[string]*v4l2test.Camera{"/dev/video0": k}, func(b *boardTest) {
		time.Sleep(5 * time.Second)
		w, took := getSnapshot(b.supervisor, "/snapshot?size=max")
		if w.Code != 200 || took > 2*time.Second {
			t.Errorf("got %d %.100q after %v", w.Code, w.Body, took)
		}
		time.Sleep(5 * time.Second)
		b.wantState(modeLive, "/dev/video0", "")
		b.wantShown("live")
		if got, want := fmt.Sprint(sizes[1:]), "[640x480 1280x960 640x480]"; got != want {
			t.Errorf("it was set to %s, want %s", got, want)
		}
	})
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"strings"
	"testing"
	"unsafe"
)

func TestV4L2NearestSize(t *testing.T) {
	sizes := [][2]uint32{{1920, 1080}, {1280, 720}, {640, 480}, {320, 240}}
	tests := []struct{ want, got string }{
		{"640x480", "640x480"},
		{"800x600", "640x480"},
		{"1300x700", "1280x720"},
		{"5000x5000", "1920x1080"},
		{"16x16", "320x240"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			k := newFakeKernel()
			k.sizes = sizes
			var o options
			if err := o.parseSize(test.want); err != nil {
				t.Fatal(err)
			}
			c, err := openNode(k, fakePath, o.settings)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.Info().String(); !strings.Contains(got, ": "+test.got+" MJPG") {
				t.Errorf("got %s, want %s", got, test.got)
			}
		})
	}
}

func TestV4L2NearestRate(t *testing.T) {
	usual := []v4l2Fract{{1, 30}, {1, 15}, {1, 5}}
	tests := []struct {
		name      string
		intervals []v4l2Fract
		fps, want float64
	}{
		{"default", usual, 0, 30},
		{"default of a fast camera", []v4l2Fract{{1, 120}, {1, 60}, {1, 30}, {1, 5}}, 0, 30},
		{"the very one", usual, 15, 15},
		{"near", usual, 14, 15},
		{"between", usual, 10, 15},
		{"more than there is", usual, 100, 30},
		{"less than there is", usual, 0.1, 5},
		{"not told", nil, 12.5, 12.5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKernel()
			k.intervals = test.intervals
			want := smallSize
			want.fps = test.fps
			c, err := openNode(k, fakePath, want)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.Info().FPS; got != test.want {
				t.Errorf("got %v fps, want %v", got, test.want)
			}
		})
	}
}

// A kernel for 32 bit without 32-bit time has another layout for buffers.
func TestV4L2Time64(t *testing.T) {
	if !timeIs32 {
		t.Skip("only 32-bit systems have two layouts")
	}
	if size := unsafe.Sizeof(v4l2BufferTime64{}); size != 80 {
		t.Fatalf("the structure has %d bytes, want 80", size)
	}
	k := newFakeKernel()
	k.time64 = true
	k.shows(picture1, picture2)
	if err := session(k, 2); err != nil {
		t.Fatal(err)
	}
	k.checkReleased(t)
}

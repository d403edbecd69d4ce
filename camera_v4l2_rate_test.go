//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"testing"
	"testing/synctest"
	"time"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// The exposure of a camera that is asked for a slow rate settles soon: the camera runs faster
// than it shows. An exposure that takes longer is not cut short.
func TestV4L2RunningRate(t *testing.T) {
	usual := []uapi.Fract{fract(1, 30), fract(1, 20), fract(1, 15), fract(1, 10), fract(1, 5)}
	const manual = "auto_exposure=1 exposure_time_absolute="
	tests := []struct {
		name          string
		intervals     []uapi.Fract
		fps           float64
		set           string
		running, want float64
	}{
		{"slow", usual, 1, "", 15, 1},
		{"slow, as the camera could be", usual, 5, "", 15, 5},
		{"slow, rates are not told", nil, 2, "", 15, 2},
		{"just fast enough", usual, 10, "", 10, 10},
		{"no rate near", []uapi.Fract{fract(1, 30), fract(1, 5)}, 1, "", 30, 1},
		{"only slow ones", []uapi.Fract{fract(1, 2), fract(1, 5)}, 1, "", 5, 1},
		{"long exposure", usual, 5, manual + "1500", 5, 5},
		{"short exposure", usual, 5, manual + "500", 15, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = v4l2test.WebcamControls()
			k.Intervals = test.intervals
			want := setting(t, test.set)
			want.fps = test.fps
			c, err := openNode(k, fakePath, want)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			running, shown := v4l2.Fract(k.Parm.TimePerFrame).Rate(), c.Info().FPS
			if running != test.running || shown != test.want {
				t.Errorf("it runs at %v fps and shows %v, want %v and %v", running, shown, test.running, test.want)
			}
		})
	}
	older := []controlSetting{{name: "exposure_absolute", value: "1500"}}
	if got, want := exposureSet(older), 150*time.Millisecond; got != want {
		t.Errorf("the control as older kernels name it sets an exposure of %v, want %v", got, want)
	}
}

// Pictures that are not due are left out.
func TestV4L2LeavesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, left := openLeavingOut(t, 100*time.Millisecond)
		for n := 10; n <= 50; n += 10 {
			start := time.Now()
			if _, err := captureOne(c); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != time.Second || *left != n {
				t.Errorf("picture %d took %v and came after %d others; want 1s, after 9", n/10, took, *left-n+9)
			}
		}
	})
}

// openLeavingOut opens a camera of which every tenth picture is due.
func openLeavingOut(t *testing.T, interval time.Duration) (c *v4l2Camera, left *int) {
	k := v4l2test.NewCamera()
	k.Formats = []string{"YUYV"}
	k.Show(make([]byte, 2*160*96))
	k.Endless, k.Interval, k.Startup = true, interval, interval
	opened, err := openNode(k, fakePath, settings{width: 160, height: 96, fps: 1, quality: 80})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	c, left = opened.(*v4l2Camera), new(int)
	c.setDue(func(time.Time) bool {
		k.Calls = k.Calls[:0]
		*left++
		return *left%10 == 0
	})
	return c, left
}

func TestV4L2LeavesOutAllocates(t *testing.T) {
	c, _ := openLeavingOut(t, 0)
	var dst []byte
	allocs := testing.AllocsPerRun(100, func() {
		var err error
		if dst, _, err = c.Capture(t.Context(), dst[:0]); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per picture, want none", allocs)
	}
}

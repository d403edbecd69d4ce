//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"io"
	"log"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// attachFake has a keeper of the open camera of a kernel, which takes no pictures. The
// function sends a change and returns the answer.
func attachFake(t *testing.T, f *fakeKernel) (k *keeper, c *v4l2Camera, send func(body string) string) {
	k = newKeeper(newStream(1), smallSize, 0, log.New(io.Discard, "", 0))
	c = openFake(t, f)
	k.found(c, driver{})
	k.attach(c)
	return k, c, sender(k)
}

// The rates of television are shown with two decimals, and chosen by that.
func TestV4L2Rates(t *testing.T) {
	f := newFakeKernel()
	f.intervals = []v4l2Fract{
		{1001, 30000}, {1000000, 29970030}, {1, 15}, {1001, 15000}, // the second is the first, rounded by its driver
		{0, 1}, {1, 0}, {1000, 1}, {1, 500}, // none that can be asked for
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
		want v4l2Fract
	}{
		{"15", v4l2Fract{1, 15}},
		{"29.97", v4l2Fract{1001, 30000}},
		{"14.99", v4l2Fract{1001, 15000}},
		{"30", v4l2Fract{1001, 30000}},
		{"14.985", v4l2Fract{1001, 15000}},
		{"29.97002997002997", v4l2Fract{1001, 30000}},
	} {
		got := send("fps=" + test.fps)
		if long := regexp.MustCompile(`\d\.\d{3}`).FindString(got); long != "" || !strings.HasPrefix(got, "200 ") {
			t.Errorf("fps=%s: got %s", test.fps, got)
		}
		if err := c.setRate(k.wanted()); err != nil || f.parm.timePerFrame != test.want {
			t.Errorf("fps=%s: the interval is %v, error %v, want %v", test.fps, f.parm.timePerFrame, err, test.want)
		}
	}
	for _, fps := range []string{"25", "30.3", "14.8"} {
		if got, want := send("fps="+fps), "400 fps="+fps+": must be one of [29.97 15 14.99]"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What is offered as the default of a control can be set: the value that the driver
// What a camera calls itself and its controls cannot do anything to a terminal or a
// Each control has a name of its own by which it can be set, in whatever language its

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/testdata/skip"
	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// A receiver is told to take what comes in, before its format is set.
func TestV4L2Signal(t *testing.T) {
	tests := []struct {
		name     string
		incoming uapi.DVTimings
		standard uapi.Std
		calls    string // those about it
	}{
		{"camera", uapi.DVTimings{}, uapi.Std{}, "QUERY_DV_TIMINGS QUERYSTD"},
		{"HDMI", uapi.DVTimings{4: 0x80, 5: 0x07}, uapi.Std{}, "QUERY_DV_TIMINGS S_DV_TIMINGS"},
		{"television", uapi.DVTimings{}, uapi.Std{0xff, 0}, "QUERY_DV_TIMINGS QUERYSTD S_STD"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.DVTimings, k.Std = test.incoming, test.standard
			openFake(t, k)
			if k.SetDVTimings != test.incoming || k.SetStd != test.standard {
				t.Errorf("set to %v and %v, want %v and %v", k.SetDVTimings, k.SetStd, test.incoming, test.standard)
			}
			calls := strings.Join(k.Calls, " ")
			if !strings.Contains(calls, " S_INPUT "+test.calls+" ENUM_FMT ") {
				t.Errorf("got calls %s, want %s after S_INPUT", calls, test.calls)
			}
		})
	}
}

func TestV4L2SignalErrors(t *testing.T) {
	tests := []struct {
		call string
		err  error
		want string // in the error; "": the camera opens all the same
	}{
		{"QUERY_DV_TIMINGS", unix.ENOLINK, fakePath + ": no signal: "},
		{"QUERY_DV_TIMINGS", unix.ENOLCK, fakePath + ": the HDMI signal is not steady: "},
		{"QUERY_DV_TIMINGS", unix.ERANGE, fakePath + ": the HDMI signal is of a kind "},
		{"QUERY_DV_TIMINGS", unix.ENODEV, fakePath + ": the camera is gone"},
		{"QUERY_DV_TIMINGS", unix.EIO, ""},
		{"QUERY_DV_TIMINGS", unix.EBUSY, ""},
		{"QUERY_DV_TIMINGS", unix.EPERM, ""},
		{"S_DV_TIMINGS", unix.EINVAL, ""},
		{"QUERYSTD", unix.EIO, ""},
		{"S_STD", unix.EINVAL, ""},
	}
	for _, test := range tests {
		k := v4l2test.NewCamera()
		k.Std = uapi.Std{0xff, 0}
		if strings.Contains(test.call, "TIMINGS") {
			k.DVTimings[0] = 1
		}
		k.Fail = v4l2test.FailAt(test.call, test.err)
		err := session(k, 0)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s, %v: got error %v, want none", test.call, test.err, err)
		case test.want != "" && (!errors.Is(err, test.err) || !strings.HasPrefix(err.Error(), test.want)):
			t.Errorf("%s, %v: got error %v, want %s", test.call, test.err, err, test.want)
		}
		k.CheckReleased(t)
	}
}

func TestV4L2SourceChange(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Revents = unix.POLLPRI
	c := openFake(t, k)
	_, err := captureOne(c)
	if want := fakePath + ": the source of the picture has changed"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// eachReceiver runs a test with each of vivid's nodes that measures what comes in. The test gets a camera there which only has its controls set: they
// are what vivid has for a sender.
func eachReceiver(t *testing.T, measures func(d *v4l2.Device) error, test func(t *testing.T, path string, sender *v4l2Camera)) {
	receivers := 0
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		sender := &v4l2Camera{device: openDevice(t, v4l2.Linux{}, path)}
		defer sender.Close()
		if measures(sender.device) == nil {
			receivers++
			test(t, path, sender)
		}
	})
	if receivers == 0 {
		skip.Test(t, "no such receiver here", "vivid is one with num_inputs=1 and input_types=3 or 1: see .ci/pizero")
	}
}

func setTo(t *testing.T, c *v4l2Camera, name, value string) {
	t.Helper()
	if err := c.setControls([]controlSetting{{name: name, value: value}}); err != nil {
		t.Error(err)
	}
}

// The error says what is wrong with the signal, and another signal is taken.
func TestV4L2DeviceHDMI(t *testing.T) {
	const mode = "dv_timings_signal_mode"
	measures := func(d *v4l2.Device) error { _, err := d.QueryDVTimings(); return err }
	eachReceiver(t, measures, func(t *testing.T, path string, sender *v4l2Camera) {
		for value, want := range map[string]error{
			"no signal":    unix.ENOLINK,
			"no lock":      unix.ENOLCK,
			"out of range": unix.ERANGE,
		} {
			setTo(t, sender, mode, value)
			if _, err := openNode(v4l2.Linux{}, path, smallSize); !errors.Is(err, want) {
				t.Errorf("%s: got error %v, want %v", value, err, want)
			}
		}
		setTo(t, sender, mode, "selected dv timings")
		defer setTo(t, sender, mode, "default")
		for _, signal := range []string{"720x576p50", "1280x720p25"} {
			setTo(t, sender, "dv_timings", signal)
			var incoming, taken uapi.DVTimings
			receive(t, path, func(fd int) error {
				return errors.Join(
					v4l2.Linux{}.Ioctl(fd, uapi.VIDIOC_QUERY_DV_TIMINGS, unsafe.Pointer(&incoming)),
					v4l2.Linux{}.Ioctl(fd, vidiocGDVTimings, unsafe.Pointer(&taken)))
			})
			if incoming != taken {
				t.Errorf("%s: takes %x, want %x", signal, taken, incoming)
			}
		}
	})
}

// A receiver of television takes the standard that comes in.
func TestV4L2DeviceTelevision(t *testing.T) {
	const mode = "standard_signal_mode"
	measures := func(d *v4l2.Device) error { _, err := d.QueryStd(); return err }
	eachReceiver(t, measures, func(t *testing.T, path string, sender *v4l2Camera) {
		setTo(t, sender, mode, "selected standard")
		defer setTo(t, sender, mode, "default")
		for _, signal := range []string{"PAL-BGH", "NTSC-M"} {
			setTo(t, sender, "standard", signal)
			var incoming, taken uapi.Std
			receive(t, path, func(fd int) error {
				return errors.Join(
					v4l2.Linux{}.Ioctl(fd, uapi.VIDIOC_QUERYSTD, unsafe.Pointer(&incoming)),
					v4l2.Linux{}.Ioctl(fd, vidiocGStd, unsafe.Pointer(&taken)))
			})
			if incoming != taken {
				t.Errorf("%s: takes %x, want %x", signal, taken, incoming)
			}
		}
	})
}

const (
	vidiocGStd       = 0x80085617 // VIDIOC_G_STD
	vidiocGDVTimings = 0xc0845658 // VIDIOC_G_DV_TIMINGS
)

// receive opens a receiver, takes a picture and asks it something.
func receive(t *testing.T, path string, ask func(fd int) error) {
	t.Helper()
	c := openReal(t, path, smallSize)
	defer c.Close()
	captureImage(t, c)
	fd, err := v4l2.Linux{}.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := ask(fd); err != nil {
		t.Error(err)
	}
}

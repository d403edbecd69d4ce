//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

// oldLinux is the running kernel, as if it were from before Linux 3.17.
type oldLinux struct{ v4l2.Linux }

func (k oldLinux) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if request == uapi.VIDIOC_QUERY_EXT_CTRL {
		return unix.ENOTTY
	}
	return k.Linux.Ioctl(fd, request, arg)
}

// Both ways to ask for the controls tell the same, and all of it makes sense.
func TestV4L2DeviceControls(t *testing.T) {
	eachCamera(t, "", func(t *testing.T, path string) {
		c := openReal(t, path, smallSize)
		defer closeReal(t, c)
		controls := controlsOf(t, c)
		for _, d := range controls {
			value, err := c.device.ControlValue(d)
			t.Logf("%s=%d, error %v: %+v", d.Name, value, err, d)
			if !d.Allows(d.Default) || err == nil && !d.ReadOnly && !d.Allows(value) {
				t.Errorf("it is %d and must be one of %+v", value, d)
			}
		}
		old := &v4l2Camera{device: openDevice(t, oldLinux{}, path)}
		defer old.Close()
		wide := func(d v4l2.Control) bool { return d.Type == v4l2.TypeInteger64 }
		got, want := slices.DeleteFunc(controlsOf(t, old), wide), slices.DeleteFunc(controls, wide)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("VIDIOC_QUERYCTRL:\ngot  %+v\nwant %+v", got, want)
		}
	})
}

func controlsOf(t *testing.T, c *v4l2Camera) []v4l2.Control {
	t.Helper()
	controls, err := c.controls()
	if err != nil {
		t.Fatal(err)
	}
	return controls
}

// valueOf returns a control of c, and its value.
func valueOf(t *testing.T, c *v4l2Camera, name string) (v4l2.Control, int64) {
	t.Helper()
	controls := controlsOf(t, c)
	i := slices.IndexFunc(controls, func(d v4l2.Control) bool { return d.Name == name })
	if i < 0 {
		t.Fatalf("no control %s, it has %s", name, settableNames(controls))
	}
	value, err := c.device.ControlValue(controls[i])
	if err != nil {
		t.Fatal(err)
	}
	return controls[i], value
}

// The driver has the values that -set gives. The tests that come
// after this one want vivid to be as it was.
func TestV4L2DeviceSet(t *testing.T) {
	tests := []struct {
		set, control string
		want         int64
	}{
		{"brightness=100 contrast=0x40", "brightness", 100},
		{"contrast=0x40", "contrast", 64},
		{"boolean=off", "boolean", 0},
		{"integer_32_bits=-7", "integer_32_bits", -7},
		{"integer_64_bits=-5000000000", "integer_64_bits", -5e9},
		{"bitmask=0x80400010", "bitmask", 0x80400010},
		{"menu=1", "menu", 1},
		{"menu=menu~item~4", "menu", 4},
		{"integer_menu=5", "integer_menu", 5},
		{"integer_menu=42", "integer_menu", 8},
		// vivid overwrites the gain when it is no longer automatic.
		{"gain=200 gain_automatic=off", "gain", 200},
	}
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		for _, test := range tests {
			c := openReal(t, path, setting(t, test.set))
			captureImage(t, c)
			if _, got := valueOf(t, c, test.control); got != test.want {
				t.Errorf("%s: got %s=%d, want %d", test.set, test.control, got, test.want)
			}
			closeReal(t, c)
		}
		var before string
		for _, test := range tests {
			before += " " + test.control + "=default"
		}
		c := openReal(t, path, setting(t, before+" gain_automatic=default"))
		for _, test := range tests[:len(tests)-1] { // the gain is automatic again
			if d, got := valueOf(t, c, test.control); got != d.Default {
				t.Errorf("got %s=%d, want %d as by default", test.control, got, d.Default)
			}
		}
		closeReal(t, c)
	})
}

// The gain is nothing to set while it is automatic.
func TestV4L2DeviceInactive(t *testing.T) {
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		for automatic, want := range map[string]bool{"off": false, "on": true} {
			c := openReal(t, path, setting(t, "gain_automatic="+automatic))
			d, _ := valueOf(t, c, "gain")
			if got := d.Inactive; got != want {
				t.Errorf("gain_automatic=%s: the gain is inactive: got %v, want %v", automatic, got, want)
			}
			closeReal(t, c)
		}
	})
}

// One wrong -set, and none of them changes anything.
func TestV4L2DeviceSetWrong(t *testing.T) {
	tests := []struct{ set, want string }{
		{"brightness=256", "brightness=256: must be from 0 to 255 in steps of 1 (default 128)"},
		{"menu=2", "menu=2: must be one of 1 (Menu Item 1), 3 (Menu Item 3), 4 (Menu Item 4)"},
		{"bitmask=1", "bitmask=1: must be a number with no bits but those of 0x80402010 (default 0x80002000)"},
		{"read_only_integer_32_bits=1", "read_only_integer_32_bits=1: this control can only be read"},
		{"button=1", `no control "button": it has brightness, contrast, saturation, hue, `},
	}
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		for _, test := range tests {
			_, err := openNode(v4l2.Linux{}, path, setting(t, "contrast=1 "+test.set))
			if err == nil || !strings.HasPrefix(err.Error(), path+": "+test.want) {
				t.Errorf("got  %v\nwant %s: %s", err, path, test.want)
			}
			checkInUse(t, 0, 0)
		}
		c := openReal(t, path, smallSize)
		defer closeReal(t, c)
		if d, got := valueOf(t, c, "contrast"); got != d.Default {
			t.Errorf("got contrast %d, want %d as before", got, d.Default)
		}
	})
}

// The controls of a USB camera, which the kernel's driver makes of what the
// camera tells: testdata/webcam.
func TestV4L2DeviceSetWebcam(t *testing.T) {
	tests := []struct {
		set  string
		want string // "exposure_time_absolute=100", or the end of the error
	}{
		{"brightness=-64", "brightness=-64"},
		{"brightness=default contrast=95", "contrast=95"},
		{"auto_exposure=manual~mode", "auto_exposure=1"},
		{"exposure_time_absolute=100 auto_exposure=1", "exposure_time_absolute=100"},
		{"exposure_time_absolute=default auto_exposure=3", "exposure_time_absolute=default: an automatic mode has this control: switch that off, too"},
		{"brightness=65", "brightness=65: must be from -64 to 64 in steps of 1 (default 0)"},
		{"auto_exposure=2", "auto_exposure=2: must be one of 1 (Manual Mode), 3 (Aperture Priority Mode)"},
		{"focus=1", `no control "focus": it has brightness, contrast, auto_exposure, exposure_time_absolute`},
	}
	eachCamera(t, "uvcvideo", func(t *testing.T, path string) {
		for _, test := range tests {
			c, err := openNode(v4l2.Linux{}, path, setting(t, test.set))
			if err != nil {
				if !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("%s: got  %v\nwant %s", test.set, err, test.want)
				}
				checkInUse(t, 0, 0)
				continue
			}
			captureImage(t, c)
			name, _, _ := strings.Cut(test.want, "=")
			if d, got := valueOf(t, c.(*v4l2Camera), name); fmt.Sprintf("%s=%d", d.Name, got) != test.want {
				t.Errorf("%s: got %s=%d, want %s", test.set, d.Name, got, test.want)
			}
			closeReal(t, c)
		}
		closeReal(t, openReal(t, path, setting(t, "brightness=default contrast=default auto_exposure=default")))
	})
}

// Controls change while pictures come, and what there is to choose can be chosen.
func TestV4L2DeviceAdjust(t *testing.T) {
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		c := openReal(t, path, smallSize)
		defer closeReal(t, c)
		captureImage(t, c)
		done := make(chan error)
		go func() { done <- c.setControls(setting(t, "brightness=50 hue=10").set) }()
		captureImage(t, c)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		captureImage(t, c)
		if _, got := valueOf(t, c, "brightness"); got != 50 {
			t.Errorf("got brightness=%d, want 50", got)
		}
		if err := c.setControls(setting(t, "brightness=7 hue=1000").set); err == nil {
			t.Error("hue=1000: no error")
		}
		if _, got := valueOf(t, c, "brightness"); got != 50 {
			t.Errorf("got brightness=%d, want 50 as before", got)
		}
		ch := c.choices()
		if !slices.Contains(ch.Sizes, "640x360") || len(ch.Rates) == 0 || !ch.Encodes || len(ch.Controls) < 10 {
			t.Errorf("got %+v", ch)
		}
		if err := c.setControls(setting(t, "brightness=default hue=default").set); err != nil {
			t.Error(err)
		}
	})
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/mjpeg/mjpegtest"
	"porthole/testdata/skip"
	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

func TestV4L2NoDevice(t *testing.T) {
	for _, path := range []string{os.DevNull, t.TempDir() + "/video0"} {
		c, err := openNode(v4l2.Linux{}, path, smallSize)
		if errors.Is(err, unix.ENOSYS) {
			continue // QEMU without a kernel of its own knows no V4L2
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got camera %v, error %v; want one that matches fs.ErrNotExist", path, c, err)
		}
	}
}

const noCameraHere = "no V4L2 camera here that is free"

// eachCamera runs a test with each camera of this machine that is free and, if
// driver is not "", has that driver. Without any, the test is skipped.
func eachCamera(t *testing.T, driver string, test func(t *testing.T, path string)) {
	var cameras, reasons []string
	for _, path := range v4l2.Nodes(v4l2.Linux{}) {
		c, err := openNode(v4l2.Linux{}, path, smallSize)
		if err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		c.Close()
		if driver == "" || driver == c.Info().Driver {
			cameras = append(cameras, path)
		}
	}
	if len(cameras) == 0 {
		t.Logf("video nodes: %v %q", v4l2.Nodes(v4l2.Linux{}), reasons)
		skip.Test(t, noCameraHere, "plug one in, or run .ci/pizero")
	}
	for _, path := range cameras {
		t.Run(filepath.Base(path), func(t *testing.T) { test(t, path) })
	}
}

func openDevice(t *testing.T, k v4l2.Kernel, path string) *v4l2.Device {
	t.Helper()
	device, err := v4l2.Open(k, path)
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func openReal(t *testing.T, path string, want settings) *v4l2Camera {
	t.Helper()
	c, err := openNode(v4l2.Linux{}, path, want)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*v4l2Camera)
}

// closeReal closes c. No error may come of it, and nothing be left.
func closeReal(t *testing.T, c camera) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("Close: got error %v, want none", err)
	}
	checkInUse(t, 0, 0)
}

// checkInUse checks how many video nodes are open and buffers mapped.
func checkInUse(t *testing.T, wantNodes, wantMaps int) {
	t.Helper()
	nodes := 0
	for _, path := range openFiles(t) {
		if strings.HasPrefix(path, "/dev/video") {
			nodes++
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(maps, []byte("/dev/video")); nodes != wantNodes || got != wantMaps {
		t.Errorf("%d video nodes are open and %d buffers mapped, want %d and %d", nodes, got, wantNodes, wantMaps)
	}
}

// openFiles returns the paths of all open files.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, entry := range entries {
		path, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		paths = append(paths, path)
	}
	return paths
}

// captureImage returns the next good picture of c: the first ones of some
// cameras are damaged. It must be as large as Info says.
func captureImage(t *testing.T, c camera) (image.Image, time.Time) {
	t.Helper()
	picture, at, err := c.Capture(t.Context(), nil)
	for n := 0; errors.Is(err, mjpeg.ErrDamaged) && n < 20; n++ {
		picture, at, err = c.Capture(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Bounds().Size(), image.Pt(c.Info().Width, c.Info().Height); got != want {
		t.Errorf("the picture is %v, want %v as Info says", got, want)
	}
	return m, at
}

func TestV4L2Device(t *testing.T) {
	eachCamera(t, "", func(t *testing.T, path string) {
		for _, want := range []settings{
			smallSize,
			{width: 123, height: 77, quality: 80}, // must be rounded
			smallSize,
		} {
			c := openReal(t, path, want)
			t.Logf("asked for %dx%d, got %v", want.width, want.height, c.Info())
			last := time.Now().Add(-time.Second)
			for range 5 {
				_, at := captureImage(t, c)
				if !at.After(last) || at.After(time.Now()) {
					t.Errorf("captured at %v, want after %v and not in the future", at, last)
				}
				last = at
			}
			closeReal(t, c)
		}
	})
}

// The layout of buffers that a kernel without 32-bit time would want.
func TestV4L2DeviceTime64(t *testing.T) {
	eachCamera(t, "", func(t *testing.T, path string) {
		if runtime.GOARCH != "arm" {
			skip.Test(t, "only 32-bit ARM has two layouts of buffers", "run .ci/pizero")
		}
		c, err := openNode(withoutTime32{}, path, smallSize)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 3 {
			captureImage(t, c.(*v4l2Camera))
		}
	})
}

// withoutTime32 is the kernel of this machine, less one layout.
type withoutTime32 struct{ v4l2.Linux }

func (k withoutTime32) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	switch request {
	case uapi.VIDIOC_QUERYBUF, uapi.VIDIOC_QBUF, uapi.VIDIOC_DQBUF:
		return unix.ENOTTY
	}
	return k.Linux.Ioctl(fd, request, arg)
}

// Without a path, the first camera that is free is opened. When all are in use,
// that is another thing than that there are none.
func TestV4L2DeviceAny(t *testing.T) {
	var inUse []string
	for {
		c, err := openAny()
		if err != nil && len(inUse) == 0 {
			t.Log(err)
			skip.Test(t, noCameraHere, "plug one in, or run .ci/pizero")
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("with %v in use: got error %v, want none that matches fs.ErrNotExist", inUse, err)
			}
			return
		}
		defer c.Close()
		inUse = append(inUse, c.Info().Device)
	}
}

// openAny opens the first camera that is found and free.
func openAny() (camera, error) {
	paths, err := findNodes(v4l2.Linux{}, smallSize)
	for _, path := range paths {
		var c camera
		if c, err = openNode(v4l2.Linux{}, path, smallSize); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// Each raw format shows what the camera sees.
func TestV4L2DeviceFormats(t *testing.T) {
	eachCamera(t, "", func(t *testing.T, path string) {
		c := openReal(t, path, smallSize)
		caps, _ := c.device.QueryCap()
		offered, err := c.device.EnumFormats()
		if err != nil {
			t.Error(err)
		}
		if caps.Driver == "vivid" && caps.Has(v4l2.CapVideoCaptureMplane) && !slices.Contains(offered, v4l2.MakeFourCC("YM12")) {
			t.Errorf("got %v, want YM12 among them: it has three planes of memory", offered)
		}
		closeReal(t, c)
		for _, format := range v4l2Formats {
			if !slices.Contains(offered, format) {
				continue
			}
			t.Run(format.String(), func(t *testing.T) {
				c, err := openV4L2(v4l2.Linux{}, path, smallSize, []v4l2.FourCC{format})
				if err != nil {
					t.Fatal(err)
				}
				m, _ := captureImage(t, c)
				t.Logf("encoded by %s", c.Info().Encoder)
				closeReal(t, c)
				if got := c.Info().Format; got != format.String() {
					t.Errorf("got format %s, want %s", got, format)
				}
				if c.Info().Driver == "vivid" {
					checkBars(t, m)
				} else if oneColor(m) {
					t.Error("the picture is all one colour")
				}
			})
		}
	})
}

// oneColor reports whether m shows nothing.
func oneColor(m image.Image) bool {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if m.At(x, y) != m.At(b.Min.X, b.Min.Y) {
				return false
			}
		}
	}
	return true
}

// checkBars looks at the picture of vivid, the kernel's test driver: white,
// yellow, cyan, green, magenta, red, blue and black bars, ever darker.
func checkBars(t *testing.T, m image.Image) {
	t.Helper()
	_, gray := m.(*image.Gray)
	above := 256
	for i, want := range []struct{ cb, cr uint8 }{
		{128, 128}, {44, 142}, {156, 44}, {72, 58}, {184, 198}, {100, 212}, {212, 114}, {128, 128},
	} {
		if gray {
			want.cb, want.cr = 128, 128
		}
		at := m.At(m.Bounds().Dx()*(2*i+1)/16, m.Bounds().Dy()-10) // below the text
		got := color.YCbCrModel.Convert(at).(color.YCbCr)
		if int(got.Y) >= above || max(mjpegtest.Distance(got.Cb, want.cb), mjpegtest.Distance(got.Cr, want.cr)) > 20 {
			t.Errorf("bar %d: got %v, want Y below %d, Cb %d, Cr %d", i, got, above, want.cb, want.cr)
		}
		above = int(got.Y)
	}
}

func TestV4L2DeviceInUse(t *testing.T) {
	eachCamera(t, "", func(t *testing.T, path string) {
		first := openReal(t, path, smallSize)
		captureImage(t, first)
		_, err := openNode(v4l2.Linux{}, path, smallSize)
		if want := path + ": in use by another program"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("opened twice: got error %v, want %s", err, want)
		}
		captureImage(t, first)
		closeReal(t, first)

		second := openReal(t, path, smallSize)
		captureImage(t, second)
		closeReal(t, second)
	})
}

func TestV4L2DeviceReleased(t *testing.T) {
	eachCamera(t, "", func(t *testing.T, path string) {
		before := openFiles(t)
		for i := range 1000 {
			c := openReal(t, path, smallSize)
			if i%100 == 0 {
				captureImage(t, c)
				buffers := buffersJPEG
				if c.encoder != nil {
					buffers = buffersRaw
				}
				checkInUse(t, 1, buffers)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		checkInUse(t, 0, 0)
		if after := openFiles(t); len(after) != len(before) {
			t.Errorf("open files:\ngot  %q\nwant %q", after, before)
		}
	})
}

// vivid can be told to fail: "Inject …" among its controls.
func TestV4L2DeviceErrors(t *testing.T) {
	const base = 0x00f0f000 // VIVID_CID_VIVID_BASE
	tests := []struct {
		control uint32
		want    string
	}{
		{base + 66, string(errDataLost)}, // V4L2_BUF_FLAG_ERROR
		{base + 67, "ioctl(VIDIOC_REQBUFS): invalid argument"},
		{base + 68, "ioctl(VIDIOC_QBUF): invalid argument"},
		{base + 69, "ioctl(VIDIOC_STREAMON): invalid argument"},
		{base + 70, "ioctl(VIDIOC_DQBUF): input/output error"}, // a fatal error
	}
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		for _, test := range tests {
			// It shows in one of the next pictures, or at the next opening.
			var c camera
			err := error(nil)
			for round := 0; round < 10 && err == nil; round++ {
				if c, err = openNode(v4l2.Linux{}, path, smallSize); err != nil {
					break
				}
				for n := 0; n < 4 && err == nil; n++ {
					if _, err = captureOne(c); n == 0 && err == nil {
						inject(t, c.(*v4l2Camera), test.control)
					}
				}
				closeReal(t, c)
			}
			if err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("got error %v, want …%s", err, test.want)
			}
			checkInUse(t, 0, 0)
		}
		c := openReal(t, path, smallSize)
		captureImage(t, c)
		closeReal(t, c)
	})
}

// inject presses a button, a control of c that does something.
func inject(t *testing.T, c *v4l2Camera, button uint32) {
	t.Helper()
	const setControl = 0xc008561c // VIDIOC_S_CTRL
	control := struct{ id, value uint32 }{button, 1}
	fd, err := v4l2.Linux{}.Open(c.device.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := (v4l2.Linux{}).Ioctl(fd, setControl, unsafe.Pointer(&control)); err != nil {
		t.Fatal(err)
	}
}

// vivid comes and goes with the device that it is bound to.
func TestV4L2DeviceUnplugged(t *testing.T) {
	eachCamera(t, "vivid", func(t *testing.T, path string) {
		device, err := filepath.EvalSymlinks("/sys/class/video4linux/" + filepath.Base(path) + "/device")
		if err != nil {
			t.Fatal(err)
		}
		driver, err := filepath.EvalSymlinks(device + "/driver")
		if err != nil {
			t.Fatal(err)
		}
		plug := func(how string) error {
			return os.WriteFile(driver+"/"+how, []byte(filepath.Base(device)), 0)
		}
		if err := plug("bind"); errors.Is(err, fs.ErrPermission) {
			t.Log(err)
			skip.Test(t, noCameraHere, "plug one in, or run .ci/pizero")
		}

		c := openReal(t, path, smallSize)
		captureImage(t, c)
		if err := plug("unbind"); err != nil {
			t.Error(err)
		}
		_, err = captureOne(c)
		if want := path + ": the camera is gone: was it unplugged?"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
		if err := c.Close(); !errors.Is(err, unix.ENODEV) {
			t.Errorf("Close: got error %v, want %v", err, unix.ENODEV)
		}
		checkInUse(t, 0, 0)
		if err := plug("bind"); err != nil {
			t.Error(err)
		}

		c = openReal(t, path, smallSize)
		captureImage(t, c)
		closeReal(t, c)
	})
}

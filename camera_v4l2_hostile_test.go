//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"porthole/mjpeg"
	"porthole/mjpeg/mjpegtest"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// fuzzedFormats are those of the camera in FuzzV4L2Camera. One is of several planes of memory.
var fuzzedFormats = []string{"MJPG", "YUYV", "NV12", "NM12", "RGB3", "GREY"}

// Whatever the drivers of a camera and of an encoder answer, the camera does not panic, comes to an
// end, and releases everything.
func FuzzV4L2Camera(f *testing.F) {
	for format := range fuzzedFormats {
		f.Add(uint8(format), false, []byte(nil))
		f.Add(uint8(format), true, []byte(nil))
	}
	f.Add(uint8(0), false, []byte{5, 0x83, 1, 0, 1, 0, 0, 0}) // a list without end
	for call := range byte(150) {
		f.Add(uint8(1), true, []byte{call, 0x81, 2, 0, 9, 0, 0, 0})  // how much of a buffer is used
		f.Add(uint8(1), false, []byte{call, 0x81, 2, 0, 9, 0, 0, 0}) // the same, where we encode
		f.Add(uint8(3), true, []byte{call, 0x82, 0, 0, 9, 0, 0, 0})  // the same of a plane
		f.Add(uint8(2), true, []byte{call, 0x81, 2, 0, 0, 1, 0, 0})  // a width
	}
	jpeg := mjpegtest.SmallJPEG(f)
	f.Fuzz(func(t *testing.T, format uint8, board bool, lies []byte) {
		c := v4l2test.NewCamera()
		c.Formats = []string{fuzzedFormats[int(format)%len(fuzzedFormats)]}
		c.Sizes, c.Intervals = [][2]uint32{{64, 48}, {40, 24}}, []uapi.Fract{fract(1, 30), fract(1, 5)}
		c.Controls, c.BufferSize, c.Endless = v4l2test.WebcamControls(), 64*48*3, true
		c.Batches = [][]v4l2test.Picture{{{Data: make([]byte, 64*48*3), More: [][]byte{make([]byte, 64*48)}}}}
		if c.Formats[0] == "NM12" {
			c.Capabilities = uapi.V4L2_CAP_VIDEO_CAPTURE_MPLANE | uapi.V4L2_CAP_STREAMING
			c.DeviceCaps, c.Strides = c.Capabilities, []uint32{64, 64}
		}
		e := v4l2test.NewEncoder(func(v4l2test.RawPicture) []byte { return jpeg })
		e.CodedSize, e.Quiet, e.Raw = 4096, true, fuzzedFormats[1:]
		want := settings{camera: "auto", width: 64, height: 48, quality: 80, encoder: encoderOwn}
		if board {
			want.encoder = encoderBoard
		}
		h := v4l2test.NewHostile(withEncoder(c, e), jpeg, lies)
		use(h, want)
		eventually(t, "all is released", h.IsReleased) // ours may have taken over from the board's encoder
	})
}

// use opens the camera of a kernel, takes some pictures, sets its controls and closes it.
func use(h *v4l2test.Hostile, want settings) {
	d := v4l2Driver(h)
	d.find(want)
	opened, err := d.open(fakePath, want)
	if err != nil {
		return
	}
	defer opened.Close()
	c := opened.(*v4l2Camera)
	c.setLog(func(string) {})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for range 4 {
		if _, _, err := c.Capture(ctx, make([]byte, 10, 4096)); err != nil && c.damaged == 0 {
			break
		}
	}
	c.Info()
	for _, control := range c.choices().Controls {
		c.setControls([]controlSetting{{name: control.Name, value: "default"}})
	}
}

// An eagerKernel has a camera that always has another picture.
type eagerKernel struct{ *v4l2test.Camera }

func (k eagerKernel) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	switch request {
	case uapi.VIDIOC_DQBUF:
		(*uapi.Buffer)(arg).BytesUsed = 100
		return nil
	case uapi.VIDIOC_QBUF:
		return nil
	}
	return k.Camera.Ioctl(fd, request, arg)
}

// A camera that always has a newer picture does not keep us from showing one.
func TestV4L2Eager(t *testing.T) {
	k := v4l2test.NewCamera()
	c, err := openNode(eagerKernel{k}, fakePath, smallSize)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := captureOne(c); !errors.Is(err, mjpeg.ErrDamaged) { // there is no JPEG in the buffers
		t.Errorf("got error %v, want that of a damaged picture", err)
	}
	c.Close()
	k.CheckReleased(t)
}

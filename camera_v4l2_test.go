//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/mjpeg/mjpegtest"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

func TestV4L2Capabilities(t *testing.T) {
	const (
		output      = 0x00000002 // V4L2_CAP_VIDEO_OUTPUT
		metaCapture = 0x00800000 // V4L2_CAP_META_CAPTURE
	)
	const camera = uapi.V4L2_CAP_VIDEO_CAPTURE | uapi.V4L2_CAP_STREAMING
	tests := []struct {
		name         string
		device, node uint32
		want         string // in the error; "" for a camera
		missing      bool   // matches fs.ErrNotExist
	}{
		{"camera", camera | uapi.V4L2_CAP_DEVICE_CAPS, camera, "", false},
		{"camera with metadata", camera | metaCapture | uapi.V4L2_CAP_DEVICE_CAPS, camera, "", false},
		{"its metadata node", camera | metaCapture | uapi.V4L2_CAP_DEVICE_CAPS, metaCapture | uapi.V4L2_CAP_STREAMING, "another kind", true},
		{"old driver", camera, 0, "", false},
		{"old driver, output", output | uapi.V4L2_CAP_STREAMING, camera, "another kind", true},
		{"encoder", uapi.V4L2_CAP_VIDEO_M2M | uapi.V4L2_CAP_STREAMING | uapi.V4L2_CAP_DEVICE_CAPS, uapi.V4L2_CAP_VIDEO_M2M | uapi.V4L2_CAP_STREAMING, "another kind", true},
		{"encoder, as before V4L2_CAP_VIDEO_M2M", camera | output | uapi.V4L2_CAP_VIDEO_M2M, 0, "another kind", true},
		{"only read()", uapi.V4L2_CAP_VIDEO_CAPTURE | uapi.V4L2_CAP_DEVICE_CAPS, uapi.V4L2_CAP_VIDEO_CAPTURE, "cannot stream", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Capabilities, k.DeviceCaps = test.device, test.node
			err := session(k, 0)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
			if got := errors.Is(err, fs.ErrNotExist); got != test.missing {
				t.Errorf("%v: matches fs.ErrNotExist: got %v, want %v", err, got, test.missing)
			}
			k.CheckReleased(t)
		})
	}
}

func TestV4L2Formats(t *testing.T) {
	tests := []struct {
		name    string
		offered string
		granted string // in place of any other that is asked for
		want    string // or the end of the error
	}{
		{"JPEG before raw", "YUYV MJPG", "", "MJPG"},
		{"still JPEG", "JPEG GREY", "", "JPEG"},
		{"best raw", "GREY H264 UYVY", "", "UYVY"},
		{"HDMI", "RGB3 UYVY", "", "UYVY"},
		{"RGB before grey", "GREY RGBP", "", "RGBP"},
		{"driver changes it", "MJPG YUYV", "YUYV", "YUYV"},
		{"none in common", "H264 Y16 RGB4", "", "no picture format in common: the camera has H264 Y16 RGB4, we know " + join(v4l2Formats)},
		{"driver changes all", "MJPG YUYV", "H264", "no picture format in common: the camera has MJPG YUYV, we know " + join(v4l2Formats)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Formats = strings.Fields(test.offered)
			if test.granted != "" {
				k.Grant = func(pix *uapi.PixFormat) { pix.PixelFormat = fourCC(test.granted) }
			}
			c, err := openNode(k, fakePath, smallSize)
			if err != nil {
				if want := fakePath + ": " + test.want; err.Error() != want || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got error %v, want %s", err, want)
				}
				return
			}
			defer c.Close()
			if got := c.Info().Format; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Info tells what the driver grants, not what it was asked for.
func TestV4L2Granted(t *testing.T) {
	tests := []struct {
		name   string
		change func(k *v4l2test.Camera)
		want   string
	}{
		{"as asked", func(*v4l2test.Camera) {}, "320x180 MJPG at 30 fps"},
		{"another size", func(k *v4l2test.Camera) {
			k.Grant = func(pix *uapi.PixFormat) { pix.Width, pix.Height = 352, 288 }
		}, "352x288 MJPG at 30 fps"},
		{"another rate", func(k *v4l2test.Camera) { k.Slowest = fract(1001, 15000) }, "320x180 MJPG at 14.99 fps"},
		{"a rate that cannot be set", func(k *v4l2test.Camera) { k.Parm.Capability = 0 }, "320x180 MJPG at 25 fps"},
		{"no known rate", func(k *v4l2test.Camera) { k.Parm = uapi.CaptureParm{} }, "320x180 MJPG"},
		{"no G_PARM", func(k *v4l2test.Camera) { k.Fail = v4l2test.FailAt("G_PARM", unix.ENOTTY) }, "320x180 MJPG"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			test.change(k)
			info := openFake(t, k).Info()
			if got, want := info.String(), fakePath+" (Fake Webcam, fakevideo): "+test.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if math.IsNaN(info.FPS) { // which JSON does not have
				t.Errorf("got a rate of %v, want a number", info.FPS)
			}
		})
	}
}

// A receiver for raw data of a sensor says what is missing.
func TestV4L2Sensor(t *testing.T) {
	k := v4l2test.NewCamera()
	k.Driver, k.Formats = "unicam", []string{"pBAA", "pGAA", "BA10"}
	want := fakePath + ": raw data of a camera at the flat cable, which takes rpicam-vid to make pictures of: sudo apt install rpicam-apps"
	if err := session(k, 0); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	k.CheckReleased(t)
}

// A control may change the format that was granted.
func TestV4L2Turned(t *testing.T) {
	turned := func(k *v4l2test.Camera) { k.Pix.Width, k.Pix.Height = k.Pix.Height, k.Pix.Width }
	raw := func(k *v4l2test.Camera) { k.Pix.PixelFormat = fourCC("YUYV") }
	for _, test := range []struct {
		name   string
		change func(k *v4l2test.Camera)
		want   string // or the end of the error
	}{
		{"by 90 degrees", turned, "180x320 MJPG"},
		{"to another format", raw, "-set has changed the format from MJPG to YUYV"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Controls = []*v4l2test.Control{{
				ID: 0x00980922, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Rotate", Max: 270, Step: 90,
				Changed: func() {
					test.change(k)
					k.Control("rotate").Changed = nil // once is enough
				},
			}}
			want := smallSize
			want.set = []controlSetting{{"rotate", "90", false}}
			c, err := openNode(k, fakePath, want)
			if err != nil {
				if !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("got error %v, want %s", err, test.want)
				}
				k.CheckReleased(t)
				return
			}
			defer c.Close()
			if got := c.Info().String(); !strings.Contains(got, ": "+test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// A camera that is plugged in again is found under another number, also among
// others. Each has a metadata node of the same name.
func TestV4L2Moved(t *testing.T) {
	camera := func(name string) *v4l2test.Camera {
		k := v4l2test.NewCamera()
		k.Card = name
		return k
	}
	metadata := func(name string) *v4l2test.Camera {
		k := camera(name)
		k.DeviceCaps = 0x00a00000 // V4L2_CAP_META_CAPTURE, V4L2_CAP_EXT_PIX_FORMAT
		return k
	}
	for _, test := range []struct {
		name   string
		device string // -camera
		last   string // the name of the camera that was open
		nodes  []string
		want   string // the device, or the error
	}{
		{"first", "", "", []string{"robin", "wren"}, "/dev/video0"},
		{"the same", "", "wren", []string{"robin", "wren"}, "/dev/video2"},
		{"another, for it is gone", "", "owl", []string{"robin", "wren"}, "/dev/video0"},
		{"none", "", "wren", nil, "no camera found: is it plugged in, and its kernel driver loaded?"},
		{"by number", "/dev/video2", "", []string{"robin", "wren"}, "/dev/video2"},
		{"by number, which it still has", "/dev/video0", "robin", []string{"robin", "wren"}, "/dev/video0"},
		{"by number, which it has no more", "/dev/video4", "wren", []string{"robin", "wren"}, "/dev/video2"},
		{"by number, which it has no more, and gone", "/dev/video4", "owl", []string{"robin", "wren"}, "/dev/video4: no such device: is it plugged in?"},
		{"by number, never seen", "/dev/video4", "", []string{"robin", "wren"}, "/dev/video4: no such device: is it plugged in?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			board := &v4l2test.Board{}
			for i, name := range test.nodes {
				board.Plug(fmt.Sprint("/dev/video", 2*i), camera(name))
				board.Plug(fmt.Sprint("/dev/video", 2*i+1), metadata(name))
			}
			want := smallSize
			want.last.Name = test.last
			want.camera = cmp.Or(test.device, "auto")
			if got := openFound(board, want); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			board.CheckReleased(t)
		})
	}
}

// openFound returns the first device that is found and can be opened, or else why
// the last one cannot.
func openFound(board *v4l2test.Board, want settings) string {
	paths, err := findNodes(board, want)
	for _, path := range paths {
		var c camera
		if c, err = openNode(board, path, want); err == nil {
			defer c.Close()
			return c.Info().Device
		}
	}
	return err.Error()
}

func TestV4L2Buffers(t *testing.T) {
	tests := []struct {
		name    string
		format  string
		granted uint32 // at most
		want    int
	}{
		{"JPEG", "MJPG", 32, buffersJPEG},
		{"raw", "YUYV", 32, buffersRaw},
		{"fewer", "MJPG", 2, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Formats, k.MaxBuffers = []string{test.format}, test.granted
			openFake(t, k)
			if k.Mapped != test.want || len(k.Queued) != test.want {
				t.Errorf("%d are mapped and %d queued, want %d", k.Mapped, len(k.Queued), test.want)
			}
		})
	}
	k := v4l2test.NewCamera()
	k.MaxBuffers = 0
	err := session(k, 0)
	if want := fakePath + ": the driver has no memory for pictures: try a smaller -size"; err == nil || err.Error() != want {
		t.Errorf("none: got error %v, want %s", err, want)
	}
}

// Raw pictures are encoded, as large as Info says.
func TestV4L2Raw(t *testing.T) {
	tests := []struct {
		name      string
		format    string
		width     int
		row, told int // bytes in a row, as it is and as the driver says
	}{
		{"YUYV", "YUYV", 64, 128, 128},
		{"YUYV, padded rows", "YUYV", 64, 140, 140},
		{"YUYV, rows of 0 bytes", "YUYV", 64, 128, 0},
		{"NV12, padded rows", "NV12", 50, 64, 64},
		{"GREY, odd width", "GREY", 51, 51, 51},
		{"YU12, odd width", "YU12", 51, 52, 52},
		{"RGB3, odd width", "RGB3", 51, 153, 153},
		{"NV16, padded rows", "NV16", 50, 64, 64},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Formats = []string{test.format}
			s := mjpegtest.Scene{Width: test.width, Height: 30}
			k.Grant = func(pix *uapi.PixFormat) {
				pix.Width, pix.Height, pix.BytesPerLine = uint32(s.Width), uint32(s.Height), uint32(test.told)
			}
			k.Show(s.Draw(test.format, test.row), make([]byte, 1000))
			c := openFake(t, k)
			picture, err := captureOne(c)
			if err != nil {
				t.Fatal(err)
			}
			s.Width = c.Info().Width
			s.Check(t, picture)
			if _, err := captureOne(c); !errors.Is(err, mjpeg.ErrDamaged) {
				t.Errorf("too short: got error %v, want mjpeg.ErrDamaged", err)
			}
		})
	}
}

// Pictures of cameras that have the requests for several planes of memory, with one and more
// of them.
func TestV4L2Mplane(t *testing.T) {
	for format, strides := range map[string][]uint32{
		"YUYV": {136}, "NV12": {64}, "YV12": {64}, "RGB3": {160}, "NM12": {64, 64}, "NM61": {64, 64}, "YM12": {64, 32, 32}, "YM21": {64, 32, 32},
	} {
		t.Run(format, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.DeviceCaps = uapi.V4L2_CAP_VIDEO_CAPTURE_MPLANE | uapi.V4L2_CAP_STREAMING
			k.Formats, k.Strides = []string{format}, strides
			s := mjpegtest.Scene{Width: 50, Height: 31}
			k.Grant = func(pix *uapi.PixFormat) { pix.Width, pix.Height = uint32(s.Width), uint32(s.Height) }
			stride := int(strides[0])
			planes := mjpegtest.Planes(format, s.Draw(format, stride), stride, s.Height)
			k.Batches = [][]v4l2test.Picture{
				{{Data: planes[0], More: planes[1:]}},
				{{Data: planes[0][:100], More: planes[1:]}},
			}
			c := openFake(t, k)
			picture, err := captureOne(c)
			if err != nil {
				t.Fatal(err)
			}
			s.Check(t, picture)
			if _, err := captureOne(c); !errors.Is(err, mjpeg.ErrDamaged) {
				t.Errorf("too short: got error %v, want mjpeg.ErrDamaged", err)
			}
		})
	}
}

// The time of a picture is the driver's, if the driver's clock is known.
func TestV4L2Time(t *testing.T) {
	const age = 30 * time.Millisecond
	tests := []struct {
		name  string
		flags uint32
		age   time.Duration // as the driver says
		want  time.Duration
	}{
		{"monotonic", uapi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, age, age},
		{"unknown clock", 0, age, 0},
		{"copied from elsewhere", 0x4000, age, 0}, // V4L2_BUF_FLAG_TIMESTAMP_COPY
		{"in the future", uapi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, -age, 0},
		{"from an hour ago", uapi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, time.Hour, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := v4l2test.NewCamera()
				c := openFake(t, k)
				k.Batches = [][]v4l2test.Picture{nil, {{Data: picture1, Change: func(b *uapi.Buffer) {
					now := c.monotonic + time.Since(c.wall)
					b.Timestamp = unix.NsecToTimeval(int64(now - test.age))
					b.Flags |= test.flags
				}}}}
				_, at, err := c.Capture(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				// Timestamps are in microseconds.
				if got := time.Since(at); (got - test.want).Abs() > time.Microsecond {
					t.Errorf("the picture is %v old, want %v", got, test.want)
				}
			})
		})
	}
}

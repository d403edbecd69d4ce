//go:build linux && (arm || arm64)

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// newFirmwareKernel returns a kernel with the firmware's camera, as far as we ask
// for it, with the limits that the driver's source gives for the second camera
// that was made for the Pi.
func newFirmwareKernel() *v4l2test.Camera {
	k := v4l2test.NewCamera()
	k.Card, k.Driver = "mmal service 16.1", "bm2835 mmal"
	k.Formats = []string{"YU12", "YUYV", "RGB3", "JPEG", "H264", "MJPG", "YVYU", "VYUY", "UYVY", "NV12", "BGR3", "YV12", "NV21", "BGR4"}
	k.Largest = [2]uint32{3280, 2464}
	k.Parm = uapi.CaptureParm{Capability: uapi.V4L2_CAP_TIMEPERFRAME, TimePerFrame: fract(1000, 30000)}
	k.Grant = func(pix *uapi.PixFormat) {
		if !slices.Contains(k.Formats, v4l2.FourCC(pix.PixelFormat).String()) {
			pix.PixelFormat = fourCC("YU12")
		}
		pix.Width = min(max(pix.Width&^1, 32), k.Largest[0])
		pix.Height = min(max(pix.Height&^1, 32), k.Largest[1])
		pix.BytesPerLine = 0
		pix.SizeImage = max(pix.Width*pix.Height, 80<<10)
	}
	k.Controls = []*v4l2test.Control{
		{ID: v4l2test.Brightness, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Brightness", Max: 100, Step: 1, Default: 50, Value: 50},
		{ID: 0x00980914, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Horizontal Flip", Max: 1, Step: 1},
		{ID: 0x00980915, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Vertical Flip", Max: 1, Step: 1},
		{ID: 0x00980922, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Rotate", Max: 360, Step: 90},
		{
			ID: 0x009909ce, Type: uapi.V4L2_CTRL_TYPE_MENU, Label: "Video Bitrate Mode", Max: 1,
			Menu: map[uint32]string{0: "Variable Bitrate", 1: "Constant Bitrate"},
		},
		{ID: 0x009909cf, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Video Bitrate", Min: 25_000, Max: 25_000_000, Step: 25_000, Default: 10_000_000, Value: 10_000_000},
		{ID: uapi.V4L2_CID_EXPOSURE_AUTO_PRIORITY, Type: uapi.V4L2_CTRL_TYPE_BOOLEAN, Label: "Exposure, Dynamic Framerate", Max: 1, Value: 1},
		{ID: 0x009d0903, Type: uapi.V4L2_CTRL_TYPE_INTEGER, Label: "Compression Quality", Min: 1, Max: 100, Step: 1, Default: 30, Value: 30},
	}
	return k
}

func TestPiFirmware(t *testing.T) {
	ask := func(size [2]int, fps float64, quality int, set ...controlSetting) settings {
		return settings{camera: "auto", width: size[0], height: size[1], fps: fps, quality: quality, set: set}
	}
	small, hd, large, huge := [2]int{640, 480}, [2]int{1920, 1080}, [2]int{2592, 1944}, [2]int{9000, 9000}
	turned := ask(small, 0, 80)
	turned.turn = turn{180, ""}
	for _, test := range []struct {
		name    string
		want    settings
		granted string           // by the driver
		values  map[string]int64 // of controls
	}{
		{"640x480", ask(small, 0, 80), "640x480 MJPG", map[string]int64{"video_bitrate_mode": 1, "video_bitrate": 9_200_000}},
		{"10 fps", ask(small, 10, 80), "640x480 MJPG", map[string]int64{"video_bitrate": 3_050_000, "exposure_dynamic_framerate": 0}},
		{"quality 40", ask(small, 0, 40), "640x480 MJPG", map[string]int64{"video_bitrate": 5_200_000, "compression_quality": 30}},
		{"full HD", ask(hd, 0, 80), "1920x1080 MJPG", map[string]int64{"video_bitrate": 25_000_000}},
		{"as small as it gets", ask([2]int{16, 16}, 1, 1), "32x32 MJPG", map[string]int64{"video_bitrate": 25_000}},
		{"more than video can be", ask(large, 0, 70), "2592x1944 JPEG", map[string]int64{"compression_quality": 70, "video_bitrate": 10_000_000}},
		{"more than the sensor has", ask(huge, 0, 80), "3280x2464 JPEG", map[string]int64{"compression_quality": 80}},
		{"upside down", ask(small, 0, 80, controlSetting{"rotate", "180", false}), "640x480 MJPG", map[string]int64{"rotate": 180, "video_bitrate": 9_200_000}},
		{
			"mirrored", ask(small, 0, 80, controlSetting{"horizontal_flip", "on", false}, controlSetting{"vertical_flip", "on", false}), "640x480 MJPG",
			map[string]int64{"horizontal_flip": 1, "vertical_flip": 1},
		},
		{"half a turn", turned, "640x480 MJPG", map[string]int64{"horizontal_flip": 1, "vertical_flip": 1, "rotate": 0}},
		{"-set goes first", ask(small, 0, 80, controlSetting{"video_bitrate", "17000000", false}), "640x480 MJPG", map[string]int64{"video_bitrate_mode": 1, "video_bitrate": 17_000_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newFirmwareKernel()
			k.Show(picture1)
			c, err := openFirmware(k, []string{fakePath}, test.want)
			if err != nil {
				t.Fatal(err)
			}
			if picture, err := captureOne(c); err != nil || !bytes.Equal(picture, picture1) {
				t.Errorf("got a picture of %d bytes, error %v; want %d bytes", len(picture), err, len(picture1))
			}
			if info := c.Info(); !strings.HasPrefix(info.String(), fakePath+" (mmal service 16.1, bm2835 mmal): "+test.granted) {
				t.Errorf("it is %v, want %s", info, test.granted)
			}
			for name, want := range test.values {
				if got := k.Control(name).Value; got != want {
					t.Errorf("%s: got %d, want %d", name, got, want)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			k.CheckReleased(t)
		})
	}
}

// The firmware's camera is found among others, and others are left alone.
func TestPiFirmwareFound(t *testing.T) {
	want := settings{camera: "auto", width: 640, height: 480, quality: 80}
	webcam, metadata, firmware := v4l2test.NewCamera(), v4l2test.NewCamera(), newFirmwareKernel()
	metadata.DeviceCaps = 0x00a00000 // V4L2_CAP_META_CAPTURE, V4L2_CAP_EXT_PIX_FORMAT
	board := v4l2test.NewBoard(map[string]*v4l2test.Camera{"/dev/video0": webcam, "/dev/video1": metadata, "/dev/video2": firmware})
	c, err := openFirmware(board, v4l2.Nodes(board), want)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Info().Device; got != "/dev/video2" {
		t.Errorf("got %s, want /dev/video2", got)
	}
	c.Close()
	if got, want := strings.Join(webcam.Calls, " "), "open QUERYCAP close"; got != want {
		t.Errorf("calls to another camera: got %s, want %s", got, want)
	}
	board.Unplug("/dev/video2")
	if _, err := openFirmware(board, v4l2.Nodes(board), want); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without it: got error %v, want one that matches fs.ErrNotExist", err)
	}
}

// The firmware's camera in use by another program is no reason to take another.
func TestPiFirmwareBusy(t *testing.T) {
	k := newFirmwareKernel()
	k.Fail = v4l2test.FailAt("S_FMT", unix.EBUSY)
	_, err := openFirmware(k, []string{fakePath}, smallSize)
	if want := fakePath + ": in use by another program"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	k.CheckReleased(t)
}

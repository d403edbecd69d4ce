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
)

// newFirmwareKernel returns a kernel with the firmware's camera, as far as we ask
// for it, with the limits that the driver's source gives for the second camera
// that was made for the Pi.
func newFirmwareKernel() *fakeKernel {
	k := newFakeKernel()
	k.card, k.driver = "mmal service 16.1", "bm2835 mmal"
	k.formats = []string{"YU12", "YUYV", "RGB3", "JPEG", "H264", "MJPG", "YVYU", "VYUY", "UYVY", "NV12", "BGR3", "YV12", "NV21", "BGR4"}
	k.largest = [2]uint32{3280, 2464}
	k.parm = v4l2CaptureParm{capability: capTimePerFrame, timePerFrame: v4l2Fract{1000, 30000}}
	k.grant = func(pix *v4l2PixFormat) {
		if !slices.Contains(k.formats, fourcc(pix.pixelFormat)) {
			pix.pixelFormat = fourccCode("YU12")
		}
		pix.width = min(max(pix.width&^1, 32), k.largest[0])
		pix.height = min(max(pix.height&^1, 32), k.largest[1])
		pix.bytesPerLine = 0
		pix.sizeImage = max(pix.width*pix.height, 80<<10)
	}
	k.controls = []*fakeControl{
		{id: idBrightness, typ: ctrlTypeInteger, name: "Brightness", max: 100, step: 1, initial: 50, value: 50},
		{id: 0x00980914, typ: ctrlTypeBoolean, name: "Horizontal Flip", max: 1, step: 1},
		{id: 0x00980915, typ: ctrlTypeBoolean, name: "Vertical Flip", max: 1, step: 1},
		{id: 0x00980922, typ: ctrlTypeInteger, name: "Rotate", max: 360, step: 90},
		{
			id: 0x009909ce, typ: ctrlTypeMenu, name: "Video Bitrate Mode", max: 1,
			menu: map[uint32]string{0: "Variable Bitrate", 1: "Constant Bitrate"},
		},
		{id: 0x009909cf, typ: ctrlTypeInteger, name: "Video Bitrate", min: 25_000, max: 25_000_000, step: 25_000, initial: 10_000_000, value: 10_000_000},
		{id: cidExposureAutoPriority, typ: ctrlTypeBoolean, name: "Exposure, Dynamic Framerate", max: 1, value: 1},
		{id: 0x009d0903, typ: ctrlTypeInteger, name: "Compression Quality", min: 1, max: 100, step: 1, initial: 30, value: 30},
	}
	return k
}

func TestPiFirmware(t *testing.T) {
	ask := func(size [2]int, fps float64, quality int, set ...controlSetting) settings {
		return settings{camera: "auto", width: size[0], height: size[1], fps: fps, quality: quality, set: set}
	}
	small, hd, large, huge := [2]int{640, 480}, [2]int{1920, 1080}, [2]int{2592, 1944}, [2]int{9000, 9000}
	for _, test := range []struct {
		name    string
		want    settings
		granted string           // by the driver
		values  map[string]int64 // of controls
	}{
		{"640x480", ask(small, 0, 80), "640x480 MJPG", map[string]int64{"video_bitrate_mode": 1, "video_bitrate": 9_200_000}},
		{"10 fps", ask(small, 10, 80), "640x480 MJPG", map[string]int64{"video_bitrate": 3_050_000, "exposure_dynamic_framerate": 0}},
		{"quality 40", ask(small, 0, 40), "640x480 MJPG", map[string]int64{"video_bitrate": 4_600_000, "compression_quality": 30}},
		{"full HD", ask(hd, 0, 80), "1920x1080 MJPG", map[string]int64{"video_bitrate": 25_000_000}},
		{"as small as it gets", ask([2]int{16, 16}, 1, 1), "32x32 MJPG", map[string]int64{"video_bitrate": 25_000}},
		{"more than video can be", ask(large, 0, 70), "2592x1944 JPEG", map[string]int64{"compression_quality": 70, "video_bitrate": 10_000_000}},
		{"more than the sensor has", ask(huge, 0, 80), "3280x2464 JPEG", map[string]int64{"compression_quality": 80}},
		{"upside down", ask(small, 0, 80, controlSetting{"rotate", "180", false}), "640x480 MJPG", map[string]int64{"rotate": 180, "video_bitrate": 9_200_000}},
		{
			"mirrored", ask(small, 0, 80, controlSetting{"horizontal_flip", "on", false}, controlSetting{"vertical_flip", "on", false}), "640x480 MJPG",
			map[string]int64{"horizontal_flip": 1, "vertical_flip": 1},
		},
		{"-set goes first", ask(small, 0, 80, controlSetting{"video_bitrate", "17000000", false}), "640x480 MJPG", map[string]int64{"video_bitrate_mode": 1, "video_bitrate": 17_000_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newFirmwareKernel()
			k.shows(picture1)
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
				if got := k.control(name).value; got != want {
					t.Errorf("%s: got %d, want %d", name, got, want)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			k.checkReleased(t)
		})
	}
}

// The firmware's camera is found among others, and others are left alone.
func TestPiFirmwareFound(t *testing.T) {
	want := settings{camera: "auto", width: 640, height: 480, quality: 80}
	webcam, metadata, firmware := newFakeKernel(), newFakeKernel(), newFirmwareKernel()
	metadata.deviceCaps = 0x00a00000 // V4L2_CAP_META_CAPTURE, V4L2_CAP_EXT_PIX_FORMAT
	board := &fakeBoard{devices: map[string]*fakeKernel{"/dev/video0": webcam, "/dev/video1": metadata, "/dev/video2": firmware}}
	c, err := openFirmware(board, board.nodes(), want)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Info().Device; got != "/dev/video2" {
		t.Errorf("got %s, want /dev/video2", got)
	}
	c.Close()
	if got, want := strings.Join(webcam.calls, " "), "open QUERYCAP close"; got != want {
		t.Errorf("calls to another camera: got %s, want %s", got, want)
	}
	board.unplug("/dev/video2")
	if _, err := openFirmware(board, board.nodes(), want); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without it: got error %v, want one that matches fs.ErrNotExist", err)
	}
}

// The firmware's camera in use by another program is no reason to take another.
func TestPiFirmwareBusy(t *testing.T) {
	k := newFirmwareKernel()
	k.fail = failAt("S_FMT", unix.EBUSY)
	_, err := openFirmware(k, []string{fakePath}, smallSize)
	if want := fakePath + ": in use by another program"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	k.checkReleased(t)
}

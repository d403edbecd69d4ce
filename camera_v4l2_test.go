//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What C gives for linux/videodev2.h, where pointers and long have 64 bits and
// where they have 32.
func TestV4L2Layout(t *testing.T) {
	bits, known := map[string]int{
		"amd64": 64, "arm64": 64, "loong64": 64, "riscv64": 64,
		"386": 32, "arm": 32,
	}[runtime.GOARCH]
	if !known {
		t.Fatalf("no layout is pinned for %s", runtime.GOARCH)
	}
	tests := []struct {
		name           string
		got            uintptr
		want64, want32 uintptr
	}{
		{"VIDIOC_QUERYCAP", vidiocQueryCap, 0x80685600, 0x80685600},
		{"VIDIOC_ENUM_FMT", vidiocEnumFmt, 0xc0405602, 0xc0405602},
		{"VIDIOC_G_FMT", vidiocGFmt, 0xc0d05604, 0xc0cc5604},
		{"VIDIOC_S_FMT", vidiocSFmt, 0xc0d05605, 0xc0cc5605},
		{"VIDIOC_REQBUFS", vidiocReqBufs, 0xc0145608, 0xc0145608},
		{"VIDIOC_QUERYBUF", vidiocQueryBuf, 0xc0585609, 0xc0445609},
		{"VIDIOC_QBUF", vidiocQBuf, 0xc058560f, 0xc044560f},
		{"VIDIOC_DQBUF", vidiocDQBuf, 0xc0585611, 0xc0445611},
		{"VIDIOC_STREAMON", vidiocStreamOn, 0x40045612, 0x40045612},
		{"VIDIOC_STREAMOFF", vidiocStreamOff, 0x40045613, 0x40045613},
		{"VIDIOC_G_PARM", vidiocGParm, 0xc0cc5615, 0xc0cc5615},
		{"VIDIOC_S_PARM", vidiocSParm, 0xc0cc5616, 0xc0cc5616},
		{"VIDIOC_ENUM_FRAMESIZES", vidiocEnumFrameSizes, 0xc02c564a, 0xc02c564a},
		{"VIDIOC_ENUM_FRAMEINTERVALS", vidiocEnumFrameIntervals, 0xc034564b, 0xc034564b},
		{"VIDIOC_SUBSCRIBE_EVENT", vidiocSubscribeEvent, 0x4020565a, 0x4020565a},

		{"VIDIOC_G_INPUT", vidiocGInput, 0x80045626, 0x80045626},
		{"VIDIOC_S_INPUT", vidiocSInput, 0xc0045627, 0xc0045627},
		{"MEDIA_IOC_G_TOPOLOGY", mediaIocGTopology, 0xc0487c04, 0xc0487c04},

		{"VIDIOC_S_STD", vidiocSStd, 0x40085618, 0x40085618},
		{"VIDIOC_QUERYSTD", vidiocQueryStd, 0x8008563f, 0x8008563f},
		{"VIDIOC_S_DV_TIMINGS", vidiocSDVTimings, 0xc0845657, 0xc0845657},
		{"VIDIOC_QUERY_DV_TIMINGS", vidiocQueryDVTimings, 0x80845663, 0x80845663},

		{"VIDIOC_QUERYCTRL", vidiocQueryCtrl, 0xc0445624, 0xc0445624},
		{"VIDIOC_QUERYMENU", vidiocQueryMenu, 0xc02c5625, 0xc02c5625},
		{"VIDIOC_G_EXT_CTRLS", vidiocGExtCtrls, 0xc0205647, 0xc0185647},
		{"VIDIOC_S_EXT_CTRLS", vidiocSExtCtrls, 0xc0205648, 0xc0185648},
		{"VIDIOC_QUERY_EXT_CTRL", vidiocQueryExtCtrl, 0xc0e85667, 0xc0e85667},

		// These are for 32 bit only, with 64 bits of time, and not of use on 64.
		{"VIDIOC_QUERYBUF_TIME64", time64Request(vidiocQueryBuf), 0xc0585609, 0xc0505609},
		{"VIDIOC_QBUF_TIME64", time64Request(vidiocQBuf), 0xc058560f, 0xc050560f},
		{"VIDIOC_DQBUF_TIME64", time64Request(vidiocDQBuf), 0xc0585611, 0xc0505611},

		{"sizeof v4l2_format", unsafe.Sizeof(v4l2Format{}), 208, 204},
		{"sizeof v4l2_buffer", unsafe.Sizeof(v4l2Buffer{}), 88, 68},
		{"v4l2_capability.capabilities", unsafe.Offsetof(v4l2Capability{}.capabilities), 84, 84},
		{"v4l2_fmtdesc.pixelformat", unsafe.Offsetof(v4l2FmtDesc{}.pixelFormat), 44, 44},
		{"v4l2_format.fmt.pix", unsafe.Offsetof(v4l2Format{}.pix), 8, 4},
		{"v4l2_pix_format.bytesperline", unsafe.Offsetof(v4l2PixFormat{}.bytesPerLine), 16, 16},
		{"v4l2_captureparm.timeperframe", unsafe.Offsetof(v4l2CaptureParm{}.timePerFrame), 8, 8},
		{"v4l2_streamparm.parm.capture", unsafe.Offsetof(v4l2StreamParm{}.capture), 4, 4},
		{"v4l2_buffer.bytesused", unsafe.Offsetof(v4l2Buffer{}.bytesUsed), 8, 8},
		{"v4l2_buffer.flags", unsafe.Offsetof(v4l2Buffer{}.flags), 12, 12},
		{"v4l2_buffer.timestamp", unsafe.Offsetof(v4l2Buffer{}.timestamp), 24, 20},
		{"v4l2_buffer.memory", unsafe.Offsetof(v4l2Buffer{}.memory), 60, 48},
		{"v4l2_buffer.m.offset", unsafe.Offsetof(v4l2Buffer{}.offset), 64, 52},
		{"v4l2_buffer.length", unsafe.Offsetof(v4l2Buffer{}.length), 72, 56},
		{"v4l2_buffer.request_fd", unsafe.Offsetof(v4l2Buffer{}.requestFD), 80, 64},
		{"v4l2_query_ext_ctrl.minimum", unsafe.Offsetof(v4l2QueryExtCtrl{}.minimum), 40, 40},
		{"v4l2_query_ext_ctrl.flags", unsafe.Offsetof(v4l2QueryExtCtrl{}.flags), 72, 72},
		{"v4l2_queryctrl.flags", unsafe.Offsetof(v4l2QueryCtrl{}.flags), 56, 56},
		{"v4l2_querymenu.name", unsafe.Offsetof(v4l2QueryMenu{}.name), 8, 8},
		{"sizeof v4l2_ext_control", unsafe.Sizeof(v4l2ExtControl{}), 20, 20},
		{"v4l2_ext_control.value64", unsafe.Offsetof(v4l2ExtControl{}.value), 12, 12},
		{"sizeof media_v2_entity", unsafe.Sizeof(mediaEntity{}), 96, 96},
		{"sizeof media_v2_interface", unsafe.Sizeof(mediaInterface{}), 112, 112},
		{"sizeof media_v2_pad", unsafe.Sizeof(mediaPad{}), 32, 32},
		{"sizeof media_v2_link", unsafe.Sizeof(mediaLink{}), 40, 40},
		{"media_v2_interface.devnode", unsafe.Offsetof(mediaInterface{}.major), 48, 48},
		{"v4l2_ext_controls.controls", unsafe.Offsetof(v4l2ExtControls{}.controls), 24, 20},
	}
	for _, test := range tests {
		want := test.want64
		if bits == 32 {
			want = test.want32
		}
		if test.got != want {
			t.Errorf("%s: got %#x, want %#x", test.name, test.got, want)
		}
	}
}

func TestV4L2Capabilities(t *testing.T) {
	const (
		output      = 0x00000002 // V4L2_CAP_VIDEO_OUTPUT
		metaCapture = 0x00800000 // V4L2_CAP_META_CAPTURE
	)
	const camera = capVideoCapture | capStreaming
	tests := []struct {
		name         string
		device, node uint32
		want         string // in the error; "" for a camera
		missing      bool   // matches fs.ErrNotExist
	}{
		{"camera", camera | capDeviceCaps, camera, "", false},
		{"camera with metadata", camera | metaCapture | capDeviceCaps, camera, "", false},
		{"its metadata node", camera | metaCapture | capDeviceCaps, metaCapture | capStreaming, "another kind", true},
		{"old driver", camera, 0, "", false},
		{"old driver, output", output | capStreaming, camera, "another kind", true},
		{"encoder", capVideoM2M | capStreaming | capDeviceCaps, capVideoM2M | capStreaming, "another kind", true},
		{"encoder, as before V4L2_CAP_VIDEO_M2M", camera | output | capVideoM2M, 0, "another kind", true},
		{"only read()", capVideoCapture | capDeviceCaps, capVideoCapture, "cannot stream", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKernel()
			k.capabilities, k.deviceCaps = test.device, test.node
			err := session(k, 0)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
			if got := errors.Is(err, fs.ErrNotExist); got != test.missing {
				t.Errorf("%v: matches fs.ErrNotExist: got %v, want %v", err, got, test.missing)
			}
			k.checkReleased(t)
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
		{"driver changes it", "MJPG YUYV", "YUYV", "YUYV"},
		{"none in common", "H264 Y16 RGB3", "", "no picture format in common: the camera has H264 Y16 RGB3, we know MJPG JPEG YUYV UYVY NV12 YU12 GREY"},
		{"driver changes all", "MJPG YUYV", "H264", "no picture format in common: the camera has MJPG YUYV, we know MJPG JPEG YUYV UYVY NV12 YU12 GREY"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKernel()
			k.formats = strings.Fields(test.offered)
			if test.granted != "" {
				k.grant = func(pix *v4l2PixFormat) { pix.pixelFormat = fourccCode(test.granted) }
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

// What the driver grants counts, not what it was asked for.
func TestV4L2Granted(t *testing.T) {
	tests := []struct {
		name   string
		change func(k *fakeKernel)
		want   string
	}{
		{"as asked", func(*fakeKernel) {}, "320x180 MJPG at 30 fps"},
		{"another size", func(k *fakeKernel) {
			k.grant = func(pix *v4l2PixFormat) { pix.width, pix.height = 352, 288 }
		}, "352x288 MJPG at 30 fps"},
		{"another rate", func(k *fakeKernel) { k.slowest = v4l2Fract{1001, 15000} }, "320x180 MJPG at 14.99 fps"},
		{"a rate that cannot be set", func(k *fakeKernel) { k.parm.capability = 0 }, "320x180 MJPG at 25 fps"},
		{"no known rate", func(k *fakeKernel) { k.parm = v4l2CaptureParm{} }, "320x180 MJPG"},
		{"no G_PARM", func(k *fakeKernel) { k.fail = failAt("G_PARM", unix.ENOTTY) }, "320x180 MJPG"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKernel()
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
	k := newFakeKernel()
	k.driver, k.formats = "unicam", []string{"pBAA", "pGAA", "BA10"}
	want := fakePath + ": raw data of a camera at the flat cable, which takes rpicam-vid to make pictures of: sudo apt install rpicam-apps"
	if err := session(k, 0); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	k.checkReleased(t)
}

// A control may change the format that was granted.
func TestV4L2Turned(t *testing.T) {
	turned := func(k *fakeKernel) { k.pix.width, k.pix.height = k.pix.height, k.pix.width }
	raw := func(k *fakeKernel) { k.pix.pixelFormat = fourccCode("YUYV") }
	for _, test := range []struct {
		name   string
		change func(k *fakeKernel)
		want   string // or the end of the error
	}{
		{"by 90 degrees", turned, "180x320 MJPG"},
		{"to another format", raw, "-set has changed the format from MJPG to YUYV"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKernel()
			k.controls = []*fakeControl{{
				id: 0x00980922, typ: ctrlTypeInteger, name: "Rotate", max: 270, step: 90,
				changed: func() {
					test.change(k)
					k.control("rotate").changed = nil // once is enough
				},
			}}
			want := smallSize
			want.set = []controlSetting{{"rotate", "90", false}}
			c, err := openNode(k, fakePath, want)
			if err != nil {
				if !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("got error %v, want %s", err, test.want)
				}
				k.checkReleased(t)
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
	camera := func(name string) *fakeKernel {
		k := newFakeKernel()
		k.card = name
		return k
	}
	metadata := func(name string) *fakeKernel {
		k := camera(name)
		k.deviceCaps = 0x00a00000 // V4L2_CAP_META_CAPTURE, V4L2_CAP_EXT_PIX_FORMAT
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
			board := &fakeBoard{}
			for i, name := range test.nodes {
				board.plug(fmt.Sprint("/dev/video", 2*i), camera(name))
				board.plug(fmt.Sprint("/dev/video", 2*i+1), metadata(name))
			}
			want := smallSize
			want.last.Name = test.last
			want.camera = cmp.Or(test.device, "auto")
			if got := openFound(board, want); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			for _, k := range board.devices {
				k.checkReleased(t)
			}
		})
	}
}

// openFound returns the first device that is found and can be opened, or else why
// the last one cannot.
func openFound(board *fakeBoard, want settings) string {
	paths, err := findNodes(board, board.nodes(), want)
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
			k := newFakeKernel()
			k.formats, k.buffers = []string{test.format}, test.granted
			openFake(t, k)
			if k.mapped != test.want || len(k.queued) != test.want {
				t.Errorf("%d are mapped and %d queued, want %d", k.mapped, len(k.queued), test.want)
			}
		})
	}
	k := newFakeKernel()
	k.buffers = 0
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
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newFakeKernel()
			k.formats = []string{test.format}
			s := scene{width: test.width, height: 30}
			k.grant = func(pix *v4l2PixFormat) {
				pix.width, pix.height, pix.bytesPerLine = uint32(s.width), uint32(s.height), uint32(test.told)
			}
			k.shows(s.draw(test.format, test.row), make([]byte, 1000))
			c := openFake(t, k)
			picture, err := captureOne(c)
			if err != nil {
				t.Fatal(err)
			}
			s.width = c.Info().Width
			s.compare(t, picture)
			if _, err := captureOne(c); !errors.Is(err, errDamaged) {
				t.Errorf("too short: got error %v, want errDamaged", err)
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
		{"monotonic", bufFlagTimestampMonotonic, age, age},
		{"unknown clock", 0, age, 0},
		{"copied from elsewhere", 0x4000, age, 0}, // V4L2_BUF_FLAG_TIMESTAMP_COPY
		{"in the future", bufFlagTimestampMonotonic, -age, 0},
		{"from an hour ago", bufFlagTimestampMonotonic, time.Hour, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeKernel()
				c := openFake(t, k)
				k.batches = [][]fakePicture{nil, {{picture1, func(b *v4l2Buffer) {
					now := c.monotonic + time.Since(c.wall)
					b.timestamp = unix.NsecToTimeval(int64(now - test.age))
					b.flags |= test.flags
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

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package uapi

import (
	"runtime"
	"testing"
	"unsafe"
)

// The numbers are what C gives for linux/videodev2.h and linux/media.h, with pointers and
// long of 64 and of 32 bits.
func TestLayout(t *testing.T) {
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
		{"VIDIOC_QUERYCAP", VIDIOC_QUERYCAP, 0x80685600, 0x80685600},
		{"VIDIOC_ENUM_FMT", VIDIOC_ENUM_FMT, 0xc0405602, 0xc0405602},
		{"VIDIOC_G_FMT", VIDIOC_G_FMT, 0xc0d05604, 0xc0cc5604},
		{"VIDIOC_S_FMT", VIDIOC_S_FMT, 0xc0d05605, 0xc0cc5605},
		{"VIDIOC_REQBUFS", VIDIOC_REQBUFS, 0xc0145608, 0xc0145608},
		{"VIDIOC_QUERYBUF", VIDIOC_QUERYBUF, 0xc0585609, 0xc0445609},
		{"VIDIOC_QBUF", VIDIOC_QBUF, 0xc058560f, 0xc044560f},
		{"VIDIOC_DQBUF", VIDIOC_DQBUF, 0xc0585611, 0xc0445611},
		{"VIDIOC_STREAMON", VIDIOC_STREAMON, 0x40045612, 0x40045612},
		{"VIDIOC_STREAMOFF", VIDIOC_STREAMOFF, 0x40045613, 0x40045613},
		{"VIDIOC_G_PARM", VIDIOC_G_PARM, 0xc0cc5615, 0xc0cc5615},
		{"VIDIOC_S_PARM", VIDIOC_S_PARM, 0xc0cc5616, 0xc0cc5616},
		{"VIDIOC_ENUM_FRAMESIZES", VIDIOC_ENUM_FRAMESIZES, 0xc02c564a, 0xc02c564a},
		{"VIDIOC_ENUM_FRAMEINTERVALS", VIDIOC_ENUM_FRAMEINTERVALS, 0xc034564b, 0xc034564b},
		{"VIDIOC_SUBSCRIBE_EVENT", VIDIOC_SUBSCRIBE_EVENT, 0x4020565a, 0x4020565a},

		{"VIDIOC_S_SELECTION", VIDIOC_S_SELECTION, 0xc040565f, 0xc040565f},

		{"VIDIOC_G_INPUT", VIDIOC_G_INPUT, 0x80045626, 0x80045626},
		{"VIDIOC_S_INPUT", VIDIOC_S_INPUT, 0xc0045627, 0xc0045627},
		{"MEDIA_IOC_G_TOPOLOGY", MEDIA_IOC_G_TOPOLOGY, 0xc0487c04, 0xc0487c04},

		{"VIDIOC_S_STD", VIDIOC_S_STD, 0x40085618, 0x40085618},
		{"VIDIOC_QUERYSTD", VIDIOC_QUERYSTD, 0x8008563f, 0x8008563f},
		{"VIDIOC_S_DV_TIMINGS", VIDIOC_S_DV_TIMINGS, 0xc0845657, 0xc0845657},
		{"VIDIOC_QUERY_DV_TIMINGS", VIDIOC_QUERY_DV_TIMINGS, 0x80845663, 0x80845663},

		{"VIDIOC_QUERYCTRL", VIDIOC_QUERYCTRL, 0xc0445624, 0xc0445624},
		{"VIDIOC_QUERYMENU", VIDIOC_QUERYMENU, 0xc02c5625, 0xc02c5625},
		{"VIDIOC_G_EXT_CTRLS", VIDIOC_G_EXT_CTRLS, 0xc0205647, 0xc0185647},
		{"VIDIOC_S_EXT_CTRLS", VIDIOC_S_EXT_CTRLS, 0xc0205648, 0xc0185648},
		{"VIDIOC_QUERY_EXT_CTRL", VIDIOC_QUERY_EXT_CTRL, 0xc0e85667, 0xc0e85667},

		// These are for 32 bit only, with 64 bits of time, and not of use on 64.
		{"VIDIOC_QUERYBUF_TIME64", Time64Request(VIDIOC_QUERYBUF), 0xc0585609, 0xc0505609},
		{"VIDIOC_QBUF_TIME64", Time64Request(VIDIOC_QBUF), 0xc058560f, 0xc050560f},
		{"VIDIOC_DQBUF_TIME64", Time64Request(VIDIOC_DQBUF), 0xc0585611, 0xc0505611},

		{"sizeof v4l2_format", unsafe.Sizeof(Format{}), 208, 204},
		{"sizeof v4l2_pix_format_mplane", unsafe.Sizeof(PixFormatMplane{}), 192, 192},
		{"sizeof v4l2_plane_pix_format", unsafe.Sizeof(PlanePixFormat{}), 20, 20},
		{"v4l2_pix_format_mplane.num_planes", unsafe.Offsetof(PixFormatMplane{}.NumPlanes), 180, 180},
		{"v4l2_pix_format_mplane.quantization", unsafe.Offsetof(PixFormatMplane{}.Quantization), 183, 183},
		{"sizeof v4l2_plane", unsafe.Sizeof(Plane{}), 64, 60},
		{"v4l2_plane.data_offset", unsafe.Offsetof(Plane{}.DataOffset), 16, 12},
		{"sizeof v4l2_buffer", unsafe.Sizeof(Buffer{}), 88, 68},
		{"v4l2_capability.capabilities", unsafe.Offsetof(Capability{}.Capabilities), 84, 84},
		{"v4l2_fmtdesc.pixelformat", unsafe.Offsetof(FmtDesc{}.PixelFormat), 44, 44},
		{"v4l2_format.fmt.pix", unsafe.Offsetof(Format{}.Pix), 8, 4},
		{"v4l2_pix_format.bytesperline", unsafe.Offsetof(PixFormat{}.BytesPerLine), 16, 16},
		{"v4l2_captureparm.timeperframe", unsafe.Offsetof(CaptureParm{}.TimePerFrame), 8, 8},
		{"v4l2_streamparm.parm.capture", unsafe.Offsetof(StreamParm{}.Capture), 4, 4},
		{"v4l2_buffer.bytesused", unsafe.Offsetof(Buffer{}.BytesUsed), 8, 8},
		{"v4l2_buffer.flags", unsafe.Offsetof(Buffer{}.Flags), 12, 12},
		{"v4l2_buffer.timestamp", unsafe.Offsetof(Buffer{}.Timestamp), 24, 20},
		{"v4l2_buffer.memory", unsafe.Offsetof(Buffer{}.Memory), 60, 48},
		{"v4l2_buffer.m.offset", unsafe.Offsetof(Buffer{}.Offset), 64, 52},
		{"v4l2_buffer.length", unsafe.Offsetof(Buffer{}.Length), 72, 56},
		{"v4l2_buffer.request_fd", unsafe.Offsetof(Buffer{}.RequestFD), 80, 64},
		{"v4l2_query_ext_ctrl.minimum", unsafe.Offsetof(QueryExtCtrl{}.Minimum), 40, 40},
		{"v4l2_query_ext_ctrl.flags", unsafe.Offsetof(QueryExtCtrl{}.Flags), 72, 72},
		{"v4l2_queryctrl.flags", unsafe.Offsetof(QueryCtrl{}.Flags), 56, 56},
		{"v4l2_querymenu.name", unsafe.Offsetof(QueryMenu{}.Name), 8, 8},
		{"sizeof v4l2_ext_control", unsafe.Sizeof(ExtControl{}), 20, 20},
		{"v4l2_ext_control.value64", unsafe.Offsetof(ExtControl{}.Value), 12, 12},
		{"sizeof media_v2_entity", unsafe.Sizeof(MediaEntity{}), 96, 96},
		{"sizeof media_v2_interface", unsafe.Sizeof(MediaInterface{}), 112, 112},
		{"sizeof media_v2_pad", unsafe.Sizeof(MediaPad{}), 32, 32},
		{"sizeof media_v2_link", unsafe.Sizeof(MediaLink{}), 40, 40},
		{"media_v2_interface.devnode", unsafe.Offsetof(MediaInterface{}.Major), 48, 48},
		{"v4l2_ext_controls.controls", unsafe.Offsetof(ExtControls{}.Controls), 24, 20},
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

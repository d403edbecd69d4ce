//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"
	"unsafe"

	"porthole/mjpeg/mjpegtest"
	"porthole/testdata/skip"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

func TestV4L2NearestSize(t *testing.T) {
	sizes := [][2]uint32{{1920, 1080}, {1280, 720}, {640, 480}, {320, 240}}
	tests := []struct{ want, got string }{
		{"640x480", "640x480"},
		{"800x600", "640x480"},
		{"1300x700", "1280x720"},
		{"5000x5000", "1920x1080"},
		{"16x16", "320x240"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Sizes = sizes
			var o options
			if err := o.parseSize(test.want); err != nil {
				t.Fatal(err)
			}
			c, err := openNode(k, fakePath, o.settings)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.Info().String(); !strings.Contains(got, ": "+test.got+" MJPG") {
				t.Errorf("got %s, want %s", got, test.got)
			}
		})
	}
}

func TestV4L2NearestRate(t *testing.T) {
	usual := []uapi.Fract{fract(1, 30), fract(1, 15), fract(1, 5)}
	tests := []struct {
		name      string
		intervals []uapi.Fract
		fps, want float64
	}{
		{"default", usual, 0, 30},
		{"default of a fast camera", []uapi.Fract{fract(1, 120), fract(1, 60), fract(1, 30), fract(1, 5)}, 0, 30},
		{"the very one", usual, 15, 15},
		{"near", usual, 14, 15},
		{"between", usual, 10, 15},
		{"more than there is", usual, 100, 30},
		{"less than there is", usual, 0.1, 0.1},
		{"less than a slow camera has", []uapi.Fract{fract(1, 5), fract(1, 2)}, 7, 5},
		{"not told", nil, 12.5, 12.5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Intervals = test.intervals
			want := smallSize
			want.fps = test.fps
			c, err := openNode(k, fakePath, want)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.Info().FPS; got != test.want {
				t.Errorf("got %v fps, want %v", got, test.want)
			}
		})
	}
}

// Black and white are in the JPEG what they are in the range that the driver says.
func TestV4L2Range(t *testing.T) {
	const full, limited, srgb = 1, uapi.V4L2_QUANTIZATION_LIM_RANGE, 8 // V4L2_QUANTIZATION_FULL_RANGE, V4L2_COLORSPACE_SRGB
	tests := []struct {
		name                     string
		format                   string
		colorspace, quantization uint32
		old                      bool  // kernel, in whose structure that is not yet
		black, white             uint8 // in the JPEG, of 16 and 235
	}{
		{"USB camera", "YUYV", srgb, uapi.V4L2_QUANTIZATION_DEFAULT, false, 0, 255},
		{"television", "UYVY", 1, uapi.V4L2_QUANTIZATION_DEFAULT, false, 0, 255}, // V4L2_COLORSPACE_SMPTE170M
		{"not told", "NV12", 0, uapi.V4L2_QUANTIZATION_DEFAULT, false, 0, 255},
		{"limited", "YU12", uapi.V4L2_COLORSPACE_JPEG, limited, false, 0, 255},
		{"colours of JPEG", "YUYV", uapi.V4L2_COLORSPACE_JPEG, uapi.V4L2_QUANTIZATION_DEFAULT, false, 16, 235},
		{"full", "YUYV", srgb, full, false, 16, 235},
		{"infrared", "GREY", srgb, uapi.V4L2_QUANTIZATION_DEFAULT, false, 16, 235},
		{"grey, limited", "GREY", srgb, limited, false, 0, 255},
		{"RGB", "RGB3", srgb, uapi.V4L2_QUANTIZATION_DEFAULT, false, 16, 235},
		{"RGB, limited", "BGR3", srgb, limited, false, 0, 255},
		{"old kernel", "YUYV", srgb, full, true, 0, 255},
		{"old kernel, grey", "GREY", srgb, limited, true, 16, 235},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := v4l2test.NewCamera()
			k.Formats = []string{test.format}
			scene := mjpegtest.Scene{Width: 64, Height: 48, Color: func(x, _ int) color.YCbCr {
				if x < 32 {
					return color.YCbCr{Y: 16, Cb: 128, Cr: 128}
				}
				return color.YCbCr{Y: 235, Cb: 128, Cr: 128}
			}}
			stride := mjpegtest.Stride(test.format, 64) + 6
			k.Grant = func(pix *uapi.PixFormat) {
				pix.Width, pix.Height, pix.BytesPerLine = 64, 48, uint32(stride)
				pix.Colorspace, pix.Quantization = test.colorspace, test.quantization
				if test.old {
					pix.Priv = 0
				}
			}
			k.Show(scene.Draw(test.format, stride))
			picture, err := captureOne(openFake(t, k))
			if err != nil {
				t.Fatal(err)
			}
			m, err := jpeg.Decode(bytes.NewReader(picture))
			if err != nil {
				t.Fatal(err)
			}
			black := color.GrayModel.Convert(m.At(0, 0)).(color.Gray).Y
			white := color.GrayModel.Convert(m.At(63, 0)).(color.Gray).Y
			if mjpegtest.Distance(black, test.black) > 1 || mjpegtest.Distance(white, test.white) > 1 {
				t.Errorf("black is %d and white %d, want %d and %d", black, white, test.black, test.white)
			}
		})
	}
}

// A kernel for 32 bit without 32-bit time has another layout for buffers.
func TestV4L2Time64(t *testing.T) {
	if !uapi.TimeIs32 {
		skip.Test(t, "only 32-bit systems have two layouts of buffers", "run it with GOARCH=386 or on ARM")
	}
	if size := unsafe.Sizeof(uapi.BufferTime64{}); size != 80 {
		t.Fatalf("the structure has %d bytes, want 80", size)
	}
	k := v4l2test.NewCamera()
	k.Time64 = true
	k.Show(picture1, picture2)
	if err := session(k, 2); err != nil {
		t.Fatal(err)
	}
	k.CheckReleased(t)
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"porthole/mjpeg"
	"porthole/mjpeg/mjpegtest"
	"porthole/testdata/skip"
	"porthole/v4l2"
)

// These tests use encoders of the kernel that runs: testdata/vjpeg, which makes JPEGs, and the
// kernel's own vicodec, which makes something else.

const (
	vjpegParameters = "/sys/module/vjpeg/parameters/"
	vjpegDriver     = "/sys/bus/platform/drivers/vjpeg/"
)

// vjpeg returns the node of the virtual JPEG encoder.
func vjpeg(t *testing.T) v4l2.EncoderNode {
	t.Helper()
	for _, n := range v4l2.Encoders(v4l2.Linux{}) {
		if n.Driver == "vjpeg" {
			return n
		}
	}
	skip.Test(t, "no virtual JPEG encoder here", "run .ci/pizero")
	return v4l2.EncoderNode{}
}

// setVjpeg sets a parameter of the encoder until the end of the test.
func setVjpeg(t *testing.T, name string, value int) {
	t.Helper()
	file := vjpegParameters + name
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, fmt.Append(nil, value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(file, bytes.TrimSpace(before), 0) })
}

// rawTest is a raw picture and an encoder for it.
type rawTest struct {
	mjpegtest.Scene
	raw    mjpeg.RawFormat
	planes [][]byte
	*encoder
	lost []string // why the board's encoder was given up
}

// newRawTest opens the encoder for pictures of a format. Its memory is checked when it was closed.
func newRawTest(t *testing.T, n v4l2.EncoderNode, format string, width, height int) *rawTest {
	t.Helper()
	scene := colours(width, height)
	stride := mjpegtest.Stride(format, width)
	r := &rawTest{Scene: scene, raw: mjpeg.RawFormat{PixelFormat: format, Width: width, Height: height, Strides: mjpegtest.Strides(format, stride)}}
	r.planes = mjpegtest.Planes(format, scene.Draw(format, stride), stride, height)
	own, err := mjpeg.NewEncoder(r.raw, 90)
	if err != nil {
		t.Fatal(err)
	}
	board, err := openBoardEncoder(v4l2.Linux{}, []v4l2.EncoderNode{n}, r.raw, 90, 30)
	if err != nil || board == nil {
		t.Fatalf("%s %dx%d: no encoder, error %v", format, width, height, err)
	}
	r.encoder = &encoder{own: own, board: board, name: new(string), log: func(line string) { r.lost = append(r.lost, line) }}
	return r
}

// want encodes the picture and checks it.
func (r *rawTest) want(t *testing.T) []byte {
	t.Helper()
	picture, err := r.Append(nil, r.planes...)
	if err != nil {
		t.Fatal(err)
	}
	r.Check(t, picture)
	return picture
}

func TestEncoderDeviceFormats(t *testing.T) {
	n := vjpeg(t)
	for _, format := range n.Raw {
		for _, size := range [][2]int{{64, 48}, {320, 180}, {162, 122}, {32, 33}} {
			t.Run(fmt.Sprintf("%v %dx%d", format, size[0], size[1]), func(t *testing.T) {
				if !slices.ContainsFunc(v4l2Formats, func(f v4l2.FourCC) bool { return f == format }) {
					t.Skipf("no camera gives %v", format)
				}
				r := newRawTest(t, n, format.String(), size[0], size[1])
				for range 3 {
					r.want(t)
				}
				if err := r.Close(); err != nil || len(r.lost) > 0 {
					t.Errorf("Close: error %v; given up: %q", err, r.lost)
				}
			})
		}
	}
	checkInUse(t, 0, 0)
}

// A camera's planes of memory become those of the encoder.
func TestEncoderDeviceKin(t *testing.T) {
	n := vjpeg(t)
	for _, kin := range [][2]string{{"NM12", "NV12"}, {"NV12", "NM12"}, {"YU12", "YM12"}, {"YM12", "YU12"}} {
		if !slices.Contains(n.Raw, v4l2.MakeFourCC(kin[1])) {
			continue // with the single-planar API
		}
		only := n
		only.Raw = []v4l2.FourCC{v4l2.MakeFourCC(kin[1])}
		r := newRawTest(t, only, kin[0], 96, 66)
		r.want(t)
		r.Close()
	}
}

func TestEncoderDeviceRubbishAndExif(t *testing.T) {
	n := vjpeg(t)
	setVjpeg(t, "rubbish", 1)
	setVjpeg(t, "exif", 1)
	r := newRawTest(t, n, "YU12", 64, 48)
	defer r.Close()
	for range 3 {
		r.want(t)
	}
	if len(r.lost) > 0 {
		t.Errorf("given up: %q", r.lost)
	}
}

// Whatever the encoder does, the picture that it was given comes from ours instead, in time.
func TestEncoderDeviceTakeover(t *testing.T) {
	for fault, why := range map[string]string{
		"stall": "it has stalled",
		"bad":   "it does not make JPEGs: damaged picture: it does not start as a JPEG",
		"cut":   "it does not make JPEGs: damaged picture: it is cut off",
		"fail":  "it could not encode a picture",
		"gone":  "it is gone",
	} {
		t.Run(fault, func(t *testing.T) {
			n := vjpeg(t) // it may have another number since it was away
			r := newRawTest(t, n, "YUYV", 160, 120)
			r.want(t)
			if fault == "gone" {
				unplugVjpeg(t)
			} else {
				setVjpeg(t, fault, 1)
			}
			began := time.Now()
			r.want(t)
			if took := time.Since(began); took > encodeTimeout+time.Second/4 {
				t.Errorf("the picture took %v, want %v at most", took, encodeTimeout)
			}
			r.want(t)
			if want := "vjpeg " + n.Path + ": " + why + ": porthole encodes the pictures now"; len(r.lost) != 1 || r.lost[0] != want {
				t.Errorf("given up: %q, want once %s", r.lost, want)
			}
			eventually(t, "the encoder is closed", func() bool { return !slices.Contains(openFiles(t), n.Path) })
		})
	}
}

// unplugVjpeg takes the encoder away until the end of the test.
func unplugVjpeg(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(vjpegDriver+"unbind", []byte("vjpeg.0"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(vjpegDriver+"bind", []byte("vjpeg.0"), 0); err != nil {
			t.Error(err)
		}
		eventually(t, "the encoder is back", func() bool { return len(v4l2.Encoders(v4l2.Linux{})) > 0 })
	})
}

// An encoder that cannot be had costs a line.
func TestEncoderDeviceRefuses(t *testing.T) {
	n := vjpeg(t)
	raw := mjpeg.RawFormat{PixelFormat: "YU12", Width: 64, Height: 48}
	for _, test := range []struct {
		parameter string
		value     int
		want      string
	}{
		{"busy", 1, "in use by another program"},
		{"nomem", 1, "no memory for its pictures: give it more (cma=96M in the kernel's command line), or try a smaller -size"},
		{"nomem", 2, "no memory for its pictures: give it more (cma=96M in the kernel's command line), or try a smaller -size"},
		{"refuse", 1, fmt.Sprintf("it makes no %v at present", n.Coded)},
		{"small", 1, "it takes no pictures of 64x48"},
	} {
		t.Run(fmt.Sprint(test.parameter, " ", test.value), func(t *testing.T) {
			setVjpeg(t, test.parameter, test.value)
			board, err := openBoardEncoder(v4l2.Linux{}, []v4l2.EncoderNode{n}, raw, 80, 30)
			if want := "vjpeg " + n.Path + ": " + test.want; board != nil || fmt.Sprint(err) != want {
				t.Errorf("got error %v, want %s", err, want)
			}
			checkInUse(t, 0, 0)
		})
	}
	large := mjpeg.RawFormat{PixelFormat: "YU12", Width: 1984, Height: 48}
	if board, err := openBoardEncoder(v4l2.Linux{}, []v4l2.EncoderNode{n}, large, 80, 30); board != nil {
		t.Errorf("%dx%d: got an encoder, error %v", large.Width, large.Height, err)
	}
}

// A quality is about as large as from our encoder.
func TestEncoderDeviceQuality(t *testing.T) {
	n := vjpeg(t)
	raw := mjpeg.RawFormat{PixelFormat: "YU12", Width: 320, Height: 240}
	noise := make([]byte, 320*240*3/2)
	for i := range noise {
		noise[i] = byte(128 + i*i%37 - i/320%23)
	}
	for _, quality := range []int{20, 50, 80, 95} {
		board, err := openBoardEncoder(v4l2.Linux{}, []v4l2.EncoderNode{n}, raw, quality, 30)
		if err != nil {
			t.Fatal(err)
		}
		own, err := mjpeg.NewEncoder(raw, quality)
		if err != nil {
			t.Fatal(err)
		}
		e := &encoder{own: own, board: board, name: new(string), log: func(line string) { t.Error(line) }}
		got, _ := e.Append(nil, noise)
		want, _ := own.Append(nil, noise)
		e.Close()
		if ratio := float64(len(got)) / float64(len(want)); n.Coded == v4l2.MakeFourCC("JPEG") && (ratio < 0.8 || ratio > 1.25) {
			t.Errorf("quality %d: %d bytes, and %d from our encoder", quality, len(got), len(want))
		}
	}
}

// A thousand pictures, and five hundred openings, leave nothing behind.
func TestEncoderDeviceOften(t *testing.T) {
	n := vjpeg(t)
	r := newRawTest(t, n, "YU12", 64, 48)
	first := r.want(t)
	for range 1000 {
		picture, err := r.Append(nil, r.planes...)
		if err != nil || !bytes.Equal(picture, first) {
			t.Fatalf("another picture, or error %v", err)
		}
	}
	if r.Close(); len(r.lost) > 0 {
		t.Errorf("given up: %q", r.lost)
	}
	memory := freeMemory(t)
	for i := range 500 {
		board, err := openBoardEncoder(v4l2.Linux{}, []v4l2.EncoderNode{n}, mjpeg.RawFormat{PixelFormat: "YU12", Width: 64 + 2*(i%100), Height: 48}, 80, 30)
		if err != nil {
			t.Fatal(err)
		}
		if err := board.device.Close(); err != nil {
			t.Fatal(err)
		}
	}
	checkInUse(t, 0, 0)
	if lost := memory - freeMemory(t); lost > 8<<10 {
		t.Errorf("%d kB less are free after 500 openings", lost)
	}
}

// freeMemory returns how much memory the system has free, in kB.
func freeMemory(t *testing.T) (kB int) {
	t.Helper()
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kB); n == 1 {
			return kB
		}
	}
	t.Fatal("no MemAvailable in /proc/meminfo")
	return 0
}

// A codec of the kernel that makes no JPEGs has the same queues.
func TestEncoderDeviceCodec(t *testing.T) {
	codec := v4l2.EncoderNode{Coded: v4l2.MakeFourCC("FWHT")}
	for _, n := range v4l2.QueryNodes(v4l2.Linux{}) {
		if n.Driver == "vicodec" && slices.Contains(n.Formats, codec.Coded) {
			codec.Path = n.Path
		}
	}
	if codec.Path == "" {
		skip.Test(t, "no virtual codec here", "run .ci/pizero")
	}
	pictures := 1000
	if testing.Short() {
		pictures = 50 // of at least 640x480, which it encodes at 15 a second on a Pi Zero
	}
	memory := freeMemory(t)
	for i := range 500 {
		e, err := v4l2.OpenEncoder(v4l2.Linux{}, codec, v4l2.EncoderConfig{
			PixelFormat: v4l2.MakeFourCC("YU12"), FrameSize: v4l2.FrameSize{Width: 640 + 8*(i%10), Height: 480 + 8*(i%5)}, Quality: 80,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range pictures {
			coded, err := e.Encode(time.Second)
			if err := errors.Join(err, e.Release()); err != nil || len(coded) == 0 {
				t.Fatalf("%d bytes, error %v", len(coded), err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if pictures = 0; i%50 == 0 {
			pictures = 1 // of another size
		}
	}
	checkInUse(t, 0, 0)
	if lost := memory - freeMemory(t); lost > 8<<10 {
		t.Errorf("%d kB less are free after 500 openings", lost)
	}
}

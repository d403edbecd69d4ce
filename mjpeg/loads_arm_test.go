//go:build linux

package mjpeg

import (
	"image/color"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"porthole/mjpeg/mjpegtest"
)

// Where .ci/loads counts loads: a megabyte.
const (
	loadsStart = 0x50000000
	loadsSize  = 1 << 20
)

// TestLoads makes JPEGs of pictures in memory at a known address, so that .ci/loads can count
// what is loaded from there. The names are pixel formats, with the bytes from row to row, and the
// orientation of pictures that are turned.
func TestLoads(t *testing.T) {
	address, _, errno := syscall.Syscall6(syscall.SYS_MMAP2, loadsStart, loadsSize,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_FIXED, ^uintptr(0), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	memory := unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), loadsSize)
	for _, test := range []struct {
		name, format        string
		stride, orientation int
	}{
		{"YUYV", "YUYV", 640, 1}, {"NV12", "NV12", 320, 1}, {"NV16", "NV16", 320, 1}, {"YU12", "YU12", 320, 1}, {"YM12", "YM12", 320, 1},
		{"RGB3", "RGB3", 960, 1}, {"RGBP", "RGBP", 640, 1}, {"GREY", "GREY", 320, 1}, {"odd", "YUYV", 646, 1}, {"padded", "NM12", 384, 1},
		{"YUYV-3", "YUYV", 640, 3}, {"YUYV-6", "YUYV", 640, 6}, {"NV12-6", "NV12", 320, 6}, {"YU12-8", "YU12", 320, 8},
		{"RGB3-6", "RGB3", 960, 6}, {"GREY-8", "GREY", 320, 8}, {"padded-7", "NM12", 384, 7},
	} {
		t.Run(test.name, func(t *testing.T) { encodeFrom(t, memory, test.format, test.stride, test.orientation) })
	}
	t.Run("copy", func(t *testing.T) { copyFrom(t, memory, false) })
	t.Run("limited", func(t *testing.T) { copyFrom(t, memory, true) })
	t.Run("JPEG", func(t *testing.T) { repairFrom(t, memory) })
}

func encodeFrom(t *testing.T, memory []byte, format string, stride, orientation int) {
	s := mjpegtest.Scene{Width: 320, Height: 240, Color: func(x, y int) color.YCbCr {
		return color.YCbCr{Y: uint8(90 + x/4), Cb: uint8(110 + y/8), Cr: uint8(150 - x/8)}
	}}
	e, err := NewEncoder(RawFormat{
		PixelFormat: format, Width: s.Width, Height: s.Height, Strides: mjpegtest.Strides(format, stride), Orientation: orientation,
	}, 80)
	if err != nil {
		t.Fatal(err)
	}
	raw := memory[:copy(memory, s.Draw(format, stride))]
	picture, err := e.Append(nil, mjpegtest.Planes(format, raw, stride, s.Height)...)
	if err != nil {
		t.Fatal(err)
	}
	if orientation == 1 {
		s.Check(t, picture)
	}
	t.Logf("bytes %d", len(raw))
}

// copyFrom copies a picture into the memory of another encoder, which has longer rows.
func copyFrom(t *testing.T, memory []byte, limited bool) {
	from := RawFormat{PixelFormat: "NV12", Width: 320, Height: 240, LimitedRange: limited}
	to := RawFormat{PixelFormat: "NV12", Width: 320, Height: 240, Strides: [3]int{384}, Rows: 256}
	c, err := NewCopier(from, to)
	if err != nil {
		t.Fatal(err)
	}
	raw := memory[:320*240*3/2]
	if err := c.Copy([][]byte{make([]byte, 384*256*3/2)}, [][]byte{raw}); err != nil {
		t.Fatal(err)
	}
	t.Logf("bytes %d", len(raw))
}

func repairFrom(t *testing.T, memory []byte) {
	sent, err := os.ReadFile("testdata/pictures/ok-baseline.jpg")
	if err != nil {
		t.Fatal(err)
	}
	picture := memory[:len(sent)+1000] // with zeros behind it
	clear(picture)
	copy(picture, sent)
	var r Repairer
	if got, err := r.Append(nil, picture); err != nil || string(got) != string(sent) {
		t.Errorf("got %d bytes, error %v; want %d", len(got), err, len(sent))
	}
	t.Logf("bytes %d", len(picture))
}

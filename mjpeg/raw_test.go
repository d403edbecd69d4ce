package mjpeg

import (
	"bytes"
	"errors"
	"image/color"
	"math"
	"math/rand/v2"
	"porthole/mjpeg/mjpegtest"
	"testing"
)

var rawFormats = []string{
	"YUYV", "YVYU", "UYVY", "VYUY", "NV12", "NV21", "NV16", "NV61", "YU12", "YV12",
	"NM12", "NM21", "NM16", "NM61", "YM12", "YM21", "RGB3", "BGR3", "RGBP", "GREY",
}

// scene returns a scene with other colours for each shift.
func scene(width, height, shift int) mjpegtest.Scene {
	return mjpegtest.Scene{Width: width, Height: height, Color: func(x, y int) color.YCbCr {
		return color.YCbCr{Y: uint8(90 + x + shift), Cb: uint8(110 + y/2 + shift), Cr: uint8(150 - x/2 - shift)}
	}}
}

func TestEncode(t *testing.T) {
	tests := []struct {
		name          string
		width, height int
		more          int // bytes in each row that are not part of the picture
	}{
		{"whole blocks", 64, 48, 0},
		{"part of a block", 50, 38, 0},
		{"odd height", 50, 39, 0},
		{"padded rows", 50, 38, 14},
		{"padded rows, odd height", 64, 47, 64},
		{"two pixels", 2, 1, 0},
	}
	for _, format := range rawFormats {
		for _, test := range tests {
			t.Run(format+" "+test.name, func(t *testing.T) {
				stride := mjpegtest.Stride(format, test.width) + test.more
				e, err := NewEncoder(RawFormat{PixelFormat: format, Width: test.width, Height: test.height, Strides: mjpegtest.Strides(format, stride)}, 95)
				if err != nil {
					t.Fatal(err)
				}
				dst := []byte("before")
				for shift := range 3 { // the encoder is used again and again
					s := scene(test.width, test.height, 5*shift)
					got, err := e.Append(dst, mjpegtest.Planes(format, s.Draw(format, stride), stride, s.Height)...)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.HasPrefix(got, dst) {
						t.Fatalf("got %q…, want %q in front", got[:len(dst)], dst)
					}
					s.Check(t, got[len(dst):])
				}
			})
		}
	}
}

func TestEncodeTooShort(t *testing.T) {
	for _, format := range rawFormats {
		s := scene(64, 31, 0)
		stride := mjpegtest.Stride(format, s.Width) + 6
		e, err := NewEncoder(RawFormat{PixelFormat: format, Width: s.Width, Height: s.Height, Strides: mjpegtest.Strides(format, stride)}, 80)
		if err != nil {
			t.Fatal(err)
		}
		planes := mjpegtest.Planes(format, s.Draw(format, stride), stride, s.Height)
		for i, whole := range planes {
			for _, n := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
				planes[i] = whole[:n]
				got, err := e.Append([]byte("before"), planes...)
				if !errors.Is(err, ErrDamaged) || string(got) != "before" {
					t.Errorf("%s, %d of %d bytes: got %d bytes, error %v; want none added, ErrDamaged", format, n, len(whole), len(got), err)
				}
			}
			planes[i] = whole
			if got, err := e.Append([]byte("before"), planes[:i]...); !errors.Is(err, ErrDamaged) || string(got) != "before" {
				t.Errorf("%s, %d planes: got %d bytes, error %v; want none added, ErrDamaged", format, i, len(got), err)
			}
		}
		if _, err := e.Append(nil, planes...); err != nil {
			t.Errorf("%s, whole: got error %v, want none", format, err)
		}
	}
}

// Planes of memory have rows of different lengths.
func TestEncodeStrides(t *testing.T) {
	for format, strides := range map[string][3]int{"NM12": {64, 80}, "NM16": {64, 58}, "YM12": {80, 40, 32}, "YM21": {64, 25, 28}} {
		s := scene(50, 39, 0)
		planes := mjpegtest.Planes(format, s.Draw(format, s.Width), s.Width, s.Height)
		for i := range planes {
			row := mjpegtest.Strides(format, s.Width)[i]
			var padded []byte
			for from := 0; from < len(planes[i]); from += row {
				padded = append(padded, planes[i][from:from+row]...)
				padded = append(padded, make([]byte, strides[i]-row)...)
			}
			planes[i] = padded
		}
		e, err := NewEncoder(RawFormat{PixelFormat: format, Width: s.Width, Height: s.Height, Strides: strides}, 95)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Append(nil, planes...)
		if err != nil {
			t.Fatal(err)
		}
		s.Check(t, got)
	}
}

// Whatever a driver says and sends, nothing panics.
func TestEncodeRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	raw := make([]byte, 1<<16)
	var format string
	var width, height, stride, orientation int
	defer func() {
		if err := recover(); err != nil {
			t.Errorf("%s, %dx%d, rows of %d bytes, orientation %d: %v", format, width, height, stride, orientation, err)
		}
	}()
	for range 2000 {
		format = rawFormats[random.IntN(len(rawFormats))]
		width, height, stride, orientation = random.IntN(70), random.IntN(70), random.IntN(200), random.IntN(9)
		e, err := NewEncoder(RawFormat{PixelFormat: format, Width: width, Height: height, Strides: [3]int{stride, random.IntN(100), random.IntN(100)}, Orientation: orientation}, 80)
		if err != nil {
			continue // a size that no JPEG has: TestEncoderSize
		}
		n := e.lengths
		e.Append(nil, raw[:n[0]], raw[:n[1]], raw[:n[2]])
		e.Append(nil, raw[:n[0]+1], raw[:n[1]+1], raw[:n[2]+1])
		e.Append(nil, raw[:random.IntN(len(raw))], raw[:random.IntN(len(raw))])
	}
}

// Sizes that no JPEG has, or no memory.
func TestEncoderSize(t *testing.T) {
	for _, size := range []struct{ width, height, stride int }{
		{0, 480, 0}, {1, 480, 0}, {640, 0, 0}, {-640, 480, 0}, {640, -480, 0},
		{1 << 16, 1, 0}, {2, 1 << 16, 0}, {640, 480, math.MaxInt32}, {65534, 65535, 0},
	} {
		for _, format := range rawFormats {
			if format == "GREY" && size.width == 1 {
				continue
			}
			_, err := NewEncoder(RawFormat{PixelFormat: format, Width: size.width, Height: size.height, Strides: [3]int{size.stride}}, 80)
			if want := "pictures are of a size that JPEG does not have"; err == nil || err.Error() != want {
				t.Errorf("%s, %v: got error %v, want %s", format, size, err, want)
			}
		}
	}
}

func TestEncoderUnknown(t *testing.T) {
	for _, format := range []string{"MJPG", "H264", "Y16", ""} {
		if _, err := NewEncoder(RawFormat{PixelFormat: format, Width: 64, Height: 48, Strides: [3]int{128}}, 80); err == nil {
			t.Errorf("%q: got an encoder, want an error", format)
		}
	}
}

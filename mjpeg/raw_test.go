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
	"YUYV", "YVYU", "UYVY", "VYUY", "NV12", "NV21", "NV16", "NV61", "YU12", "YV12", "RGB3", "BGR3", "RGBP", "GREY",
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
				e, err := NewEncoder(RawFormat{format, test.width, test.height, stride, false}, 95)
				if err != nil {
					t.Fatal(err)
				}
				dst := []byte("before")
				for shift := range 3 { // the encoder is used again and again
					s := scene(test.width, test.height, 5*shift)
					got, err := e.Append(dst, s.Draw(format, stride))
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
		e, err := NewEncoder(RawFormat{format, s.Width, s.Height, stride, false}, 80)
		if err != nil {
			t.Fatal(err)
		}
		raw := s.Draw(format, stride)
		for _, n := range []int{0, 1, stride, len(raw) / 2, len(raw) - 1} {
			got, err := e.Append([]byte("before"), raw[:n])
			if !errors.Is(err, ErrDamaged) || string(got) != "before" {
				t.Errorf("%s, %d of %d bytes: got %d bytes, error %v; want none added, ErrDamaged", format, n, len(raw), len(got), err)
			}
		}
		if _, err := e.Append(nil, raw); err != nil {
			t.Errorf("%s, whole: got error %v, want none", format, err)
		}
	}
}

// Whatever a driver says and sends, nothing panics.
func TestEncodeRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	raw := make([]byte, 1<<16)
	var format string
	var width, height, stride int
	defer func() {
		if err := recover(); err != nil {
			t.Errorf("%s, %dx%d, rows of %d bytes: %v", format, width, height, stride, err)
		}
	}()
	for range 2000 {
		format = rawFormats[random.IntN(len(rawFormats))]
		width, height, stride = random.IntN(70), random.IntN(70), random.IntN(200)
		e, err := NewEncoder(RawFormat{format, width, height, stride, false}, 80)
		if err != nil {
			continue // a size that no JPEG has: TestEncoderSize
		}
		for _, n := range []int{e.length, e.length + 1, random.IntN(len(raw))} {
			e.Append(nil, raw[:n])
		}
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
			_, err := NewEncoder(RawFormat{format, size.width, size.height, size.stride, false}, 80)
			if want := "pictures are of a size that JPEG does not have"; err == nil || err.Error() != want {
				t.Errorf("%s, %v: got error %v, want %s", format, size, err, want)
			}
		}
	}
}

func TestEncoderUnknown(t *testing.T) {
	for _, format := range []string{"MJPG", "H264", "Y16", ""} {
		if _, err := NewEncoder(RawFormat{format, 64, 48, 128, false}, 80); err == nil {
			t.Errorf("%q: got an encoder, want an error", format)
		}
	}
}

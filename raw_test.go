package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
)

var rawFormats = []string{"YUYV", "UYVY", "NV12", "YU12", "GREY"}

// A scene is what a test picture shows: colours that change slowly, since JPEG
// has one for four pixels.
type scene struct {
	width, height int
	shift         int // of the colours: another picture
}

func (s scene) at(x, y int) color.YCbCr {
	return color.YCbCr{
		Y:  uint8(40 + 2*x + s.shift),
		Cb: uint8(60 + y + s.shift),
		Cr: uint8(190 - x - s.shift),
	}
}

// draw returns s in a raw format, with rows of stride bytes. What is not part
// of the picture is noise.
func (s scene) draw(format string, stride int) []byte {
	noise := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 2*stride*s.height+stride+7)
	for i := range raw {
		raw[i] = byte(noise.Uint32())
	}
	chroma := stride * s.height // where it begins, in planes
	for y := range s.height {
		for x := range s.width {
			c := s.at(x, y)
			pair, half := y*stride+x/2*4, y/2*(stride/2)+x/2
			switch format {
			case "YUYV":
				raw[y*stride+2*x], raw[pair+1], raw[pair+3] = c.Y, c.Cb, c.Cr
			case "UYVY":
				raw[y*stride+2*x+1], raw[pair], raw[pair+2] = c.Y, c.Cb, c.Cr
			case "NV12":
				raw[y*stride+x] = c.Y
				raw[chroma+y/2*stride+x/2*2], raw[chroma+y/2*stride+x/2*2+1] = c.Cb, c.Cr
			case "YU12":
				raw[y*stride+x] = c.Y
				raw[chroma+half], raw[chroma+(s.height+1)/2*(stride/2)+half] = c.Cb, c.Cr
			case "GREY":
				raw[y*stride+x] = c.Y
			}
		}
	}
	return raw[:rawLength(format, stride, s.height)]
}

// rawStride returns the least length of a row in bytes.
func rawStride(format string, width int) int {
	if format == "YUYV" || format == "UYVY" {
		return 2 * width
	}
	return width
}

// rawLength returns the length of a picture in bytes.
func rawLength(format string, stride, height int) int {
	switch format {
	case "NV12":
		return stride*height + stride*((height+1)/2)
	case "YU12":
		return stride*height + 2*(stride/2*((height+1)/2))
	}
	return stride * height
}

// compare checks that a JPEG shows s.
func (s scene) compare(t *testing.T, picture []byte) {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Bounds(), image.Rect(0, 0, s.width, s.height); got != want {
		t.Fatalf("got size %v, want %v", got, want)
	}
	_, gray := m.(*image.Gray)
	for y := range s.height {
		for x := range s.width {
			got, want := color.YCbCrModel.Convert(m.At(x, y)).(color.YCbCr), s.at(x, y)
			if gray {
				want.Cb, want.Cr = 128, 128
			}
			if apart(got.Y, want.Y) > 8 || apart(got.Cb, want.Cb) > 12 || apart(got.Cr, want.Cr) > 12 {
				t.Fatalf("at %d,%d: got %v, want about %v", x, y, got, want)
			}
		}
	}
}

// apart returns the distance of two samples.
func apart(a, b uint8) int {
	return int(max(a, b) - min(a, b))
}

// oneColor reports whether m shows nothing.
func oneColor(m image.Image) bool {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if m.At(x, y) != m.At(b.Min.X, b.Min.Y) {
				return false
			}
		}
	}
	return true
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
				stride := rawStride(format, test.width) + test.more
				e := newEncoder(format, test.width, test.height, stride, 95, false)
				dst := []byte("before")
				for shift := range 3 { // the encoder is used again and again
					s := scene{test.width, test.height, 5 * shift}
					got, err := e.appendEncoded(dst, s.draw(format, stride))
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.HasPrefix(got, dst) {
						t.Fatalf("got %q…, want %q in front", got[:len(dst)], dst)
					}
					s.compare(t, got[len(dst):])
				}
			})
		}
	}
}

func TestEncodeTooShort(t *testing.T) {
	for _, format := range rawFormats {
		s := scene{width: 64, height: 31}
		stride := rawStride(format, s.width) + 6
		e := newEncoder(format, s.width, s.height, stride, 80, false)
		raw := s.draw(format, stride)
		for _, n := range []int{0, 1, stride, len(raw) / 2, len(raw) - 1} {
			got, err := e.appendEncoded([]byte("before"), raw[:n])
			if !errors.Is(err, errDamaged) || string(got) != "before" {
				t.Errorf("%s, %d of %d bytes: got %d bytes, error %v; want none added, errDamaged", format, n, len(raw), len(got), err)
			}
		}
		if _, err := e.appendEncoded(nil, raw); err != nil {
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
		e := newEncoder(format, width, height, stride, 80, false)
		for _, n := range []int{e.length, e.length + 1, random.IntN(len(raw))} {
			e.appendEncoded(nil, raw[:n])
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
			e := newEncoder(format, size.width, size.height, size.stride, 80, false)
			got, err := e.appendEncoded([]byte("before"), make([]byte, 1<<16))
			if err == nil || errors.Is(err, errDamaged) || string(got) != "before" {
				t.Errorf("%s, %v: got %d bytes, error %v; want none added, another error", format, size, len(got), err)
			}
		}
	}
}

func TestEncoderUnknown(t *testing.T) {
	for _, format := range []string{"MJPG", "H264", "Y16", ""} {
		if e := newEncoder(format, 64, 48, 128, 80, false); e != nil {
			t.Errorf("%q: got an encoder, want none", format)
		}
	}
}

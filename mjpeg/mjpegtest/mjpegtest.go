// Package mjpegtest makes raw pictures and JPEGs for tests, and checks what comes of
// them with package image/jpeg.
package mjpegtest

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"testing"
)

// A Scene is what a test picture shows. Its colours change slowly, since a JPEG has one
// for four pixels.
type Scene struct {
	Width, Height int                        // pixels
	Color         func(x, y int) color.YCbCr // of a pixel; nil for slow changes
}

func (s Scene) at(x, y int) color.YCbCr {
	if s.Color != nil {
		return s.Color(x, y)
	}
	return color.YCbCr{Y: uint8(40 + 2*x), Cb: uint8(60 + y), Cr: uint8(190 - x)}
}

// Draw returns the scene as a raw picture in the V4L2 pixel format with these letters, with
// rows of stride bytes. The bytes between rows are noise.
func (s Scene) Draw(format string, stride int) []byte {
	noise := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 2*stride*s.Height+stride+7)
	for i := range raw {
		raw[i] = byte(noise.Uint32())
	}
	chroma := stride * s.Height // where it begins, in planes
	for y := range s.Height {
		for x := range s.Width {
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
				raw[chroma+half], raw[chroma+(s.Height+1)/2*(stride/2)+half] = c.Cb, c.Cr
			case "GREY":
				raw[y*stride+x] = c.Y
			}
		}
	}
	return raw[:Length(format, stride, s.Height)]
}

// Stride returns the least length of a row of a raw picture, in bytes.
func Stride(format string, width int) int {
	if format == "YUYV" || format == "UYVY" {
		return 2 * width
	}
	return width
}

// Length returns the length of a raw picture with rows of stride bytes, in bytes.
func Length(format string, stride, height int) int {
	switch format {
	case "NV12":
		return stride*height + stride*((height+1)/2)
	case "YU12":
		return stride*height + 2*(stride/2*((height+1)/2))
	}
	return stride * height
}

// Check checks that a JPEG shows the scene.
func (s Scene) Check(t *testing.T, picture []byte) {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Bounds(), image.Rect(0, 0, s.Width, s.Height); got != want {
		t.Fatalf("got size %v, want %v", got, want)
	}
	_, gray := m.(*image.Gray)
	for y := range s.Height {
		for x := range s.Width {
			got, want := color.YCbCrModel.Convert(m.At(x, y)).(color.YCbCr), s.at(x, y)
			if gray {
				want.Cb, want.Cr = 128, 128
			}
			if Distance(got.Y, want.Y) > 8 || Distance(got.Cb, want.Cb) > 12 || Distance(got.Cr, want.Cr) > 12 {
				t.Fatalf("at %d,%d: got %v, want about %v", x, y, got, want)
			}
		}
	}
}

// Distance returns the distance of two samples.
func Distance(a, b uint8) int {
	return int(max(a, b) - min(a, b))
}

// SmallJPEG returns a colourful JPEG of 40x24, with Huffman tables as the standard library
// writes them: the typical ones, right in front of the scan.
func SmallJPEG(t testing.TB) []byte {
	t.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, 40, 24), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i * i)
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = byte(3*i), byte(200-2*i)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Segment returns a marker segment (T.81, B.1.1.4).
func Segment(marker byte, content []byte) []byte {
	n := len(content) + 2
	return append([]byte{0xff, marker, byte(n >> 8), byte(n)}, content...)
}

// InsertAfterSOI returns a JPEG with parts put in after its first marker.
func InsertAfterSOI(picture []byte, parts ...[]byte) []byte {
	return bytes.Join([][]byte{picture[:2], bytes.Join(parts, nil), picture[2:]}, nil)
}

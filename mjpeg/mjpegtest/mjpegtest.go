// Package mjpegtest makes raw pictures and JPEGs for tests, and checks what comes of
// them with package image/jpeg.
package mjpegtest

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"testing"
)

// A Scene is what a test picture shows. Its colours change slowly, since a JPEG has one
// for four pixels. RGB has them all.
type Scene struct {
	Width, Height int                        // pixels
	Color         func(x, y int) color.YCbCr // of a pixel; nil for slow changes
}

func (s Scene) at(x, y int) color.YCbCr {
	if s.Color != nil {
		return s.Color(x, y)
	}
	return color.YCbCr{Y: uint8(90 + x), Cb: uint8(110 + y/2), Cr: uint8(150 - x/2)}
}

// Draw returns the scene as a raw picture in the V4L2 pixel format with these letters, with
// rows of stride bytes. The bytes between rows are noise. Planes of memory come one behind the
// other: see Planes.
func (s Scene) Draw(format string, stride int) []byte {
	noise := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 2*stride*s.Height+stride+7)
	for i := range raw {
		raw[i] = byte(noise.Uint32())
	}
	for y := range s.Height {
		for x := range s.Width {
			s.drawPixel(raw, format, stride, x, y)
		}
	}
	return raw[:Length(format, stride, s.Height)]
}

func (s Scene) drawPixel(raw []byte, format string, stride, x, y int) {
	c, row := s.at(x, y), y*stride
	pair := row + x/2*4
	// In planes, where chrominance is: in turn for two rows or for each, or apart.
	inTurn := s.Height*stride + y/2*stride + x/2*2
	eachRow := s.Height*stride + y*stride + x/2*2
	first := s.Height*stride + y/2*(stride/2) + x/2
	second := first + (s.Height+1)/2*(stride/2)
	put := func(luma, cb, cr int) { raw[luma], raw[cb], raw[cr] = c.Y, c.Cb, c.Cr }
	switch format {
	case "YUYV":
		put(row+2*x, pair+1, pair+3)
	case "YVYU":
		put(row+2*x, pair+3, pair+1)
	case "UYVY":
		put(row+2*x+1, pair, pair+2)
	case "VYUY":
		put(row+2*x+1, pair+2, pair)
	case "NV12", "NM12":
		put(row+x, inTurn, inTurn+1)
	case "NV21", "NM21":
		put(row+x, inTurn+1, inTurn)
	case "NV16", "NM16":
		put(row+x, eachRow, eachRow+1)
	case "NV61", "NM61":
		put(row+x, eachRow+1, eachRow)
	case "YU12", "YM12":
		put(row+x, first, second)
	case "YV12", "YM21":
		put(row+x, second, first)
	case "GREY":
		raw[row+x] = c.Y
	default:
		drawRGB(raw[row:], format, x, c)
	}
}

func drawRGB(row []byte, format string, x int, c color.YCbCr) {
	r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
	switch format {
	case "RGB3":
		copy(row[3*x:], []byte{r, g, b})
	case "BGR3":
		copy(row[3*x:], []byte{b, g, r})
	case "RGBP":
		binary.LittleEndian.PutUint16(row[2*x:], uint16(r>>3)<<11|uint16(g>>2)<<5|uint16(b>>3))
	}
}

// Stride returns the least length of a row of a raw picture, in bytes.
func Stride(format string, width int) int {
	switch format {
	case "YUYV", "YVYU", "UYVY", "VYUY", "RGBP":
		return 2 * width
	case "RGB3", "BGR3":
		return 3 * width
	}
	return width
}

// Length returns the length of a raw picture with rows of stride bytes, in bytes.
func Length(format string, stride, height int) int {
	switch format {
	case "NV12", "NV21", "NM12", "NM21":
		return stride*height + stride*((height+1)/2)
	case "NV16", "NV61", "NM16", "NM61":
		return 2 * stride * height
	case "YU12", "YV12", "YM12", "YM21":
		return stride*height + 2*(stride/2*((height+1)/2))
	}
	return stride * height
}

// Strides returns the lengths of the rows in each plane of memory of a picture whose first
// plane has rows of stride bytes; 0 if there is no such plane.
func Strides(format string, stride int) [3]int {
	switch format {
	case "NM12", "NM21", "NM16", "NM61":
		return [3]int{stride, stride}
	case "YM12", "YM21":
		return [3]int{stride, stride / 2, stride / 2}
	}
	return [3]int{stride}
}

// Planes cuts a raw picture into its planes of memory.
func Planes(format string, raw []byte, stride, height int) (planes [][]byte) {
	strides := Strides(format, stride)
	if strides[1] == 0 {
		return [][]byte{raw}
	}
	luma, chroma := raw[:stride*height], raw[stride*height:]
	if strides[2] == 0 {
		return [][]byte{luma, chroma}
	}
	return [][]byte{luma, chroma[:len(chroma)/2], chroma[len(chroma)/2:]}
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

package mjpeg

import (
	"bytes"
	"encoding/binary"
	"image/color"
	"image/jpeg"
	"math"
	"testing"

	"porthole/mjpeg/mjpegtest"
)

// sampleOfRGB returns the sample of a component that a pixel is or, in chrominance, the mean
// of four (JFIF 1.02).
func (r rawPicture) sampleOfRGB(f *pixelFormat, x, y, n int) uint8 {
	width := 1 + min(n, 1)
	var red, green, blue float64
	for i := range width * width {
		column, row := x*width+i%width, min(y*width+i/width, r.height-1)
		p := pixelOfRGB(r.format, r.data[row*r.stride+column*f.bytes:])
		red, green, blue = red+p[0], green+p[1], blue+p[2]
	}
	luma := 0.299*red + 0.587*green + 0.114*blue
	sample := []float64{luma, (blue - luma) / 1.772, (red - luma) / 1.402}[n] / float64(width*width)
	return uint8(min(math.Round(sample+[]float64{0, 128, 128}[n]), 255))
}

// pixelOfRGB returns red, green and blue of the pixel at the beginning of s.
func pixelOfRGB(format string, s []byte) [3]float64 {
	switch format {
	case "RGB3":
		return [3]float64{float64(s[0]), float64(s[1]), float64(s[2])}
	case "BGR3":
		return [3]float64{float64(s[2]), float64(s[1]), float64(s[0])}
	}
	v := binary.LittleEndian.Uint16(s)
	part := func(v, most uint16) float64 { return float64(v&most) * 255 / float64(most) }
	return [3]float64{part(v>>11, 31), part(v>>5, 63), part(v, 31)}
}

// Samples that are made of RGB are as near as there are numbers, also at the edges of the
// range and of the picture.
func TestConvertRGB(t *testing.T) {
	for _, format := range []string{"RGB3", "BGR3", "RGBP"} {
		for name, sample := range testPictures(t) {
			for _, height := range []int{1, 9, 16} {
				r := newRawPicture(format, 54, height, sample)
				e := newTestEncoder(t, r, 80, false)
				e.raw[0] = r.data
				e.load(e.buffer, 0, 1)
				for n, want := range samplesOf(r.image()) {
					if _, most := difference(t, e.buffer.rows[n][:len(want)], want); most > 1 {
						t.Errorf("%s, %s, height %d, component %d: a sample is off by %d", format, name, height, n, most)
					}
				}
			}
		}
	}
}

// Colours of RGB with the range of television come out as they are, black and white too.
func TestEncodeLimitedRGB(t *testing.T) {
	for _, want := range []color.RGBA{
		{0, 0, 0, 255}, {255, 255, 255, 255}, {255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {200, 30, 120, 255},
	} {
		raw := make([]byte, 16*16*3)
		for i := range raw {
			raw[i] = byte(math.Round(16 + float64([]uint8{want.R, want.G, want.B}[i%3])*219/255))
		}
		e, err := NewEncoder(RawFormat{PixelFormat: "RGB3", Width: 16, Height: 16, LimitedRange: true}, 100)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := e.Append(nil, raw)
		if err != nil {
			t.Fatal(err)
		}
		m, err := jpeg.Decode(bytes.NewReader(picture))
		if err != nil {
			t.Fatal(err)
		}
		got := color.RGBAModel.Convert(m.At(8, 8)).(color.RGBA)
		if max(mjpegtest.Distance(got.R, want.R), mjpegtest.Distance(got.G, want.G), mjpegtest.Distance(got.B, want.B)) > 3 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

//go:build linux

package main

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
)

const (
	// pictureCount is how many different pictures there are. They are made
	// at the start, for a Pi Zero can encode about five a second.
	pictureCount = 16
	numberBits   = 5 // there are twice as many numbers: those of a second camera

	quality = 80 // percent, of JPEGs

	// The upper quarter of a picture has cells from left to right that say
	// which one it is: white, black, the bits of its number, black, white.
	cells = numberBits + 4
)

// A pictureSet has the pictures of one format and size.
type pictureSet [pictureCount][]byte

// newPictureSets draws the pictures for all formats and sizes, and numbers them from
// first.
func newPictureSets(first int) map[string]map[size]pictureSet {
	pictureSets := make(map[string]map[size]pictureSet)
	for _, f := range formats {
		pictureSets[f.name] = make(map[size]pictureSet)
		for _, s := range f.sizes {
			var a pictureSet
			for n := range a {
				a[n] = encode(drawPicture(s, first+n), f.name)
			}
			pictureSets[f.name][s] = a
		}
	}
	return pictureSets
}

func encode(m *image.YCbCr, format string) []byte {
	if format == "YUYV" {
		return packYUYV(m)
	}
	var b bytes.Buffer
	jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}) // to memory: no error
	return b.Bytes()
}

// drawPicture draws the picture with this number: the cells, and below them
// something colourful, with noise as sensors have it, so that the JPEG becomes
// about as large as that of a real scene: 28 KB at 640x480.
func drawPicture(s size, number int) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, s.width, s.height), image.YCbCrSubsampleRatio420)
	seed := uint32(number)
	for y := range s.height {
		for x := range s.width {
			seed = seed*1664525 + 1013904223
			m.Y[m.YOffset(x, y)] = byte(60 + 120*x/s.width + int(seed>>24)*noise/256)
			m.Cb[m.COffset(x, y)] = byte(64 + 128*x/s.width)
			m.Cr[m.COffset(x, y)] = byte(64 + 128*y/s.height)
		}
	}
	for cell := range cells {
		luma := byte(0)
		if cellIsWhite(number, cell) {
			luma = 255
		}
		for y := range s.height / 4 {
			for x := cell * s.width / cells; x < (cell+1)*s.width/cells; x++ {
				m.Y[m.YOffset(x, y)] = luma
				m.Cb[m.COffset(x, y)], m.Cr[m.COffset(x, y)] = 128, 128
			}
		}
	}
	return m
}

const noise = 15 // levels of luminance

func cellIsWhite(number, cell int) bool {
	switch bit := cell - 2; {
	case cell == 0 || cell == cells-1:
		return true
	case bit < 0 || bit >= numberBits:
		return false
	default:
		return number>>bit&1 == 1
	}
}

// readNumber returns the number in a picture; false if it is not one of ours.
func readNumber(m image.Image) (int, bool) {
	number := 0
	b := m.Bounds()
	white := make([]bool, cells)
	for cell := range cells {
		at := m.At(b.Min.X+(2*cell+1)*b.Dx()/(2*cells), b.Min.Y+b.Dy()/8)
		luma := color.GrayModel.Convert(at).(color.Gray).Y
		if luma > 50 && luma < 205 {
			return 0, false
		}
		white[cell] = luma > 127
		if bit := cell - 2; white[cell] && bit >= 0 && bit < numberBits {
			number |= 1 << bit
		}
	}
	for cell := range cells {
		if white[cell] != cellIsWhite(number, cell) {
			return 0, false
		}
	}
	return number, true
}

// packYUYV lays a picture out as YUYV: Y0 U Y1 V for each two pixels.
func packYUYV(m *image.YCbCr) []byte {
	var b []byte
	for y := range m.Rect.Dy() {
		for x := 0; x < m.Rect.Dx(); x += 2 {
			c := m.COffset(x, y)
			b = append(b, m.Y[m.YOffset(x, y)], m.Cb[c], m.Y[m.YOffset(x+1, y)], m.Cr[c])
		}
	}
	return b
}

// Package card draws the test card that the stand-in for rpicam-vid shows, and reads it.
//
// The card covers the whole field of a sensor. Its colours tell where a point lies: Cb
// grows from the left edge to the right one, and Cr from the top to the bottom. So each
// corner has its own colour, and a picture of any part of the card tells which part that
// is. A white border marks the edges of the field, and a grid each tenth of it. In the
// middle of each picture, wherever on the card it lies, are cells for the frame's number.
package card

import (
	"image"
	"image/color"
	"math"
)

// Numbers is how many different numbers there are: frames are numbered modulo this.
const Numbers = 1 << numberBits

const (
	numberBits = 3

	// Cells from left to right: white, black, the bits of the number from the lowest, black,
	// white.
	cells = numberBits + 4

	chromaLow  = 60  // of Cb at the left edge, and of Cr at the top
	chromaSpan = 136 // from there to the right edge, and to the bottom

	// Levels of luminance.
	ground = 150
	line   = 200
	border = 240
	noise  = 10

	gridLines = 10 // spaces between them in either direction
	lineWidth = 0.004
	edgeWidth = 0.01 // of the border

	// Until exposure has settled, pictures have this share of the luminance.
	darkParts, darkWhole = 2, 5
)

// A Window is the part of a field that a picture shows: where its edges lie, in widths or
// heights of the field. In a mirrored picture Left is greater than Right, and in one that
// is upside down Top than Bottom.
type Window struct{ Left, Top, Right, Bottom float64 }

// Whole is the window that shows everything.
var Whole = Window{0, 0, 1, 1}

// Near reports whether all edges of two windows are at most this far apart.
func (w Window) Near(v Window, most float64) bool {
	return math.Abs(w.Left-v.Left) <= most && math.Abs(w.Top-v.Top) <= most &&
		math.Abs(w.Right-v.Right) <= most && math.Abs(w.Bottom-v.Bottom) <= most
}

// Draw draws the part of the card that lies in a window. The width and the height must be
// even.
func Draw(width, height int, w Window) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	columns := make([]byte, width)
	for x := range columns {
		columns[x] = luma(between(w.Left, w.Right, x, width))
	}
	seed := uint32(1)
	for y := range height {
		row := luma(between(w.Top, w.Bottom, y, height))
		pixels := m.Y[y*m.YStride:][:width]
		for x := range pixels {
			seed = seed*1664525 + 1013904223
			pixels[x] = max(row, columns[x]) - noise/2 + byte(seed>>24*noise>>8)
		}
	}
	for y := range height / 2 {
		cr := chroma(between(w.Top, w.Bottom, y, height/2))
		for x := range width / 2 {
			m.Cb[y*m.CStride+x] = chroma(between(w.Left, w.Right, x, width/2))
			m.Cr[y*m.CStride+x] = cr
		}
	}
	return m
}

// between returns where the middle of a pixel lies, the i-th of n from one edge to the
// other.
func between(from, to float64, i, n int) float64 {
	return from + (to-from)*(float64(i)+0.5)/float64(n)
}

func chroma(at float64) byte { return byte(chromaLow + chromaSpan*at + 0.5) }

// luma returns the luminance of a row or column without what crosses it.
func luma(at float64) byte {
	if at < edgeWidth || at > 1-edgeWidth {
		return border
	}
	if at *= gridLines; math.Abs(at-math.Round(at)) < gridLines*lineWidth/2 {
		return line
	}
	return ground
}

// Darken makes a picture look as it does before the exposure has settled.
func Darken(m *image.YCbCr) {
	for i := range m.Y {
		m.Y[i] = byte(int(m.Y[i]) * darkParts / darkWhole)
	}
}

// Mark draws the cells of a number into a picture.
func Mark(m *image.YCbCr, number int, settled bool) {
	white := byte(255)
	if !settled {
		white = 255 * darkParts / darkWhole
	}
	strip := cellStrip(m.Rect)
	for cell := range cells {
		luma := byte(0)
		if cellIsWhite(number, cell) {
			luma = white
		}
		for y := strip.Min.Y; y < strip.Max.Y; y++ {
			for x := cellEdge(strip, cell); x < cellEdge(strip, cell+1); x++ {
				m.Y[m.YOffset(x, y)] = luma
			}
		}
	}
}

// cellStrip returns where the cells lie in a picture.
func cellStrip(r image.Rectangle) image.Rectangle {
	return image.Rect(r.Dx()/4, r.Dy()*7/16, r.Dx()*3/4, r.Dy()*9/16).Add(r.Min)
}

func cellEdge(strip image.Rectangle, cell int) int {
	return strip.Min.X + cell*strip.Dx()/cells
}

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

// A Frame is what a picture of the card tells.
type Frame struct {
	Number  int
	Settled bool // whether the exposure has settled
	Window  Window
}

// Read reads a picture; false if it does not show the card.
func Read(m image.Image) (f Frame, ok bool) {
	if f.Number, f.Settled, ok = readCells(m); !ok {
		return f, false
	}
	f.Window, ok = readWindow(m)
	return f, ok
}

func readCells(m image.Image) (number int, settled, ok bool) {
	strip := cellStrip(m.Bounds())
	var lumas [cells]byte
	for cell := range lumas {
		x := (cellEdge(strip, cell) + cellEdge(strip, cell+1)) / 2
		lumas[cell] = colorAt(m, x, (strip.Min.Y+strip.Max.Y)/2).Y
	}
	white, black := int(lumas[0]), int(lumas[1])
	if white-black < 60 {
		return 0, false, false
	}
	for cell, luma := range lumas {
		isWhite := int(luma) > (white+black)/2
		if bit := cell - 2; isWhite && bit >= 0 && bit < numberBits {
			number |= 1 << bit
		}
	}
	for cell, luma := range lumas {
		if cellIsWhite(number, cell) != (int(luma) > (white+black)/2) {
			return 0, false, false
		}
	}
	return number, white > 180, true
}

func colorAt(m image.Image, x, y int) color.YCbCr {
	return color.YCbCrModel.Convert(m.At(x, y)).(color.YCbCr)
}

// samples is how many points are looked at in either direction.
const samples = 64

// readWindow finds out where the edges of a picture lie, from the colours of points all
// over it.
func readWindow(m image.Image) (w Window, ok bool) {
	b := m.Bounds()
	var cb, cr fit
	for i := range samples {
		for j := range samples {
			x, y := (float64(i)+0.5)/samples, (float64(j)+0.5)/samples
			c := colorAt(m, b.Min.X+int(x*float64(b.Dx())), b.Min.Y+int(y*float64(b.Dy())))
			cb.add(x, (float64(c.Cb)-chromaLow)/chromaSpan)
			cr.add(y, (float64(c.Cr)-chromaLow)/chromaSpan)
		}
	}
	var farX, farY float64
	w.Left, w.Right, farX = cb.ends()
	w.Top, w.Bottom, farY = cr.ends()
	return w, farX < 0.05 && farY < 0.05
}

// A fit is the straight line that lies nearest to some points.
type fit struct{ n, x, y, xx, xy, yy float64 }

func (f *fit) add(x, y float64) {
	f.n, f.x, f.y = f.n+1, f.x+x, f.y+y
	f.xx, f.xy, f.yy = f.xx+x*x, f.xy+x*y, f.yy+y*y
}

// ends returns where the line is at 0 and at 1, and how far the points are from it: the
// root of the mean square.
func (f *fit) ends() (at0, at1, far float64) {
	slope := (f.n*f.xy - f.x*f.y) / (f.n*f.xx - f.x*f.x)
	at0 = (f.y - slope*f.x) / f.n
	square := (f.yy - at0*f.y - slope*f.xy) / f.n
	return at0, at0 + slope, math.Sqrt(max(square, 0))
}

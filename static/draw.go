//go:build ignore

// Draw makes the pictures that porthole carries with it: 1.jpg, 2.jpg and
// 3.jpg, the frames of the emulated camera, and lost.jpg, which stands in for
// a camera that has gone away. Run it from the root of the repository:
//
//	go run static/draw.go
//
// The frames are each about 28 KB, like those of a usual webcam, so that what
// is measured with the emulated camera holds for a real one. Each has its own
// average color, so that a program too can tell them apart.
package main

import (
	"image"
	"image/color"
	"image/jpeg"
	"log"
	"math"
	"os"
	"strings"
)

const (
	width, height = 640, 480
	quality       = 80
	lens          = 2 // how soft edges are, in pixels: that of a webcam is not sharp

	// The porthole: its center, the radius of its glass, and what it looks at.
	cx, cy, glass = 320, 201, 152
	horizon       = 216
)

// A picture is what one view through the porthole has of its own.
type picture struct {
	file                string
	zenith, cloud, haze rgb // the sky, from its top to the horizon
	far, near           rgb // the sea
	hull, metal, sun    rgb
	sunX, sunY, sunR    float64
	stars               int
	phase               float64 // of the waves
	grain               float64 // of the camera: it decides the size of the file
	lines               []line
}

var pictures = []picture{{ // dawn
	file: "1.jpg", lines: []line{digit("1"), title, note}, phase: 0, grain: 0.018,
	zenith: hex(0x8d4a6b), cloud: hex(0xff9d86), haze: hex(0xffc27a),
	far: hex(0xd9826a), near: hex(0x5a2f4c), hull: hex(0xa85a48), metal: hex(0xd9a050),
	sun: hex(0xfff0c0), sunX: 408, sunY: 192, sunR: 28,
}, { // noon
	file: "2.jpg", lines: []line{digit("2"), title, note}, phase: 2, grain: 0.014,
	zenith: hex(0x2f8fdc), cloud: hex(0xffffff), haze: hex(0xc4ecf4),
	far: hex(0x39b5b0), near: hex(0x0b6a72), hull: hex(0x86b5a4), metal: hex(0xd8c27c),
	sun: hex(0xfffdf0), sunX: 226, sunY: 136, sunR: 20,
}, { // night
	file: "3.jpg", lines: []line{digit("3"), title, note}, phase: 4, grain: 0.018,
	zenith: hex(0x070d2b), cloud: hex(0x31406f), haze: hex(0x2d4485),
	far: hex(0x27407c), near: hex(0x060d28), hull: hex(0x1e2a52), metal: hex(0x8290b4),
	sun: hex(0xf2f0dc), sunX: 416, sunY: 132, sunR: 18, stars: 70,
}, { // fog
	file: "lost.jpg", lines: []line{
		{"CAMERA", 147, 43, 4.4}, {"LOST", 212, 43, 4.4},
		{"IT RETURNS BY ITSELF", 426, 15, 1.4},
	},
	zenith: hex(0x505356), cloud: hex(0x6c6f71), haze: hex(0x606365),
	far: hex(0x585b5d), near: hex(0x424547), hull: hex(0x404345), metal: hex(0x6e7275),
}}

// A line of text, centered in the picture. The pen is half as wide as a stroke.
type line struct {
	text           string
	top, size, pen float64
}

var (
	title = line{"EMULATED CAMERA", 412, 21, 1.9}
	note  = line{"NO CAMERA FOUND: PLUG ONE IN", 446, 11.5, 1.05}
)

func digit(s string) line { return line{s, 120, 162, 15} }

func main() {
	for _, p := range pictures {
		f, err := os.Create("static/" + p.file)
		if err != nil {
			log.Fatal(err)
		}
		if err := jpeg.Encode(f, p.draw(), &jpeg.Options{Quality: quality}); err != nil {
			log.Fatal(err)
		}
		if err := f.Close(); err != nil {
			log.Fatal(err)
		}
	}
}

// draw paints from back to front. The hull, which has a hole in it, hides all
// of the sky and the sea but what the porthole shows.
func (p *picture) draw() image.Image {
	c := new(canvas)
	p.drawSky(c)
	p.drawSea(c)
	p.drawHull(c)
	for _, l := range p.lines {
		c.fill(l.shape(1.6*l.pen), lens, 0.45, flat(p.near))
		c.fill(l.shape(l.pen), lens, 1, flat(mix(p.hull, white, 0.9)))
	}
	return c.image(p.grain)
}

func (p *picture) drawSky(c *canvas) {
	c.fill(disc(cx, cy, width), lens, 1, func(x, y float64) rgb {
		sky := mix(p.zenith, p.haze, clamp((y-40)/(horizon-40)))
		return mix(sky, p.cloud, clamp(2.4*fbm(x/90, y/22)-1.2))
	})
	for i := range p.stars {
		x, y, r := 160+320*hash(i, 1), 45+170*hash(i, 2), 0.4+hash(i, 3)
		c.fill(disc(x, y, r), lens, 0.9, flat(p.sun))
	}
	sun := disc(p.sunX, p.sunY, p.sunR)
	c.fill(sun, 4*p.sunR, 0.8, flat(p.sun))
	c.fill(sun, lens, 1, flat(p.sun))
}

// drawSea paints rows of waves, the near ones over the far ones.
func (p *picture) drawSea(c *canvas) {
	for depth := 0.0; depth <= 1; depth += 0.125 {
		w := wave(horizon+125*math.Pow(depth, 1.5), 1+8*depth, 12+28*depth, p.phase+20*depth)
		c.fill(w, lens, 1, func(x, y float64) rgb {
			ripple := fbm(x/(8+10*depth), y/(1.5+3*depth)+9*p.phase)
			crest := ripple * math.Exp(w(x, y)/(3+9*depth))
			glint := clamp(5*ripple-2.7) * math.Exp(-math.Pow((x-p.sunX)/(p.sunR+20), 2))
			return mix(mix(mix(p.far, p.near, depth), p.haze, 0.5*crest), p.sun, glint)
		})
	}
}

func (p *picture) drawHull(c *canvas) {
	const rim = 20 // half the width of the ring
	c.fill(beyond(glass-12), 48, 0.5, flat(black))
	c.fill(beyond(glass), lens, 1, func(x, y float64) rgb {
		return mix(p.hull, black, 0.1+0.3*y/height+0.15*fbm(x/80, y/80))
	})
	c.fill(ring(cx+5, cy+8, glass+rim, rim), 30, 0.5, flat(black))
	bead(c, cx, cy, glass+rim, rim, p.metal)
	for a := math.Pi / 12; a < 2*math.Pi; a += math.Pi / 6 {
		x, y := cx+(glass+rim)*math.Cos(a), cy+(glass+rim)*math.Sin(a)
		c.fill(disc(x+1, y+2, 7), 8, 0.6, flat(black))
		bead(c, x, y, 0, 6, p.metal)
	}
}

// bead paints a ring of metal, round in section and lit from the upper left.
// One with the radius 0 is the head of a rivet.
func bead(c *canvas, x0, y0, radius, w float64, metal rgb) {
	c.fill(ring(x0, y0, radius, w), lens, 1, func(x, y float64) rgb {
		r := math.Hypot(x-x0, y-y0)
		slope := (r - radius) / w
		nx, ny := slope*(x-x0)/r, slope*(y-y0)/r
		nz := math.Sqrt(max(0, 1-slope*slope))
		light := max(0, 0.62*nz-0.45*nx-0.64*ny)
		return mix(mix(black, metal, 0.3+0.7*light), white, 0.6*math.Pow(light, 16))
	})
}

// A shape says how many pixels a point is from its edge, as a negative number
// if the point is inside. Drawn from distances, a smooth edge, a soft shadow
// and an outline are all equally easy.
type shape func(x, y float64) float64

func ring(x0, y0, r, w float64) shape {
	return func(x, y float64) float64 { return math.Abs(math.Hypot(x-x0, y-y0)-r) - w }
}

func disc(x0, y0, r float64) shape { return ring(x0, y0, 0, r) }

// beyond is all that is at least r away from the center of the porthole.
func beyond(r float64) shape { return ring(cx, cy, r+width, width) }

// wave is all that is below a wavy line.
func wave(y0, amplitude, length, phase float64) shape {
	return func(x, y float64) float64 {
		a := x/length + phase
		return y0 - y + amplitude*(math.Sin(a)+0.4*math.Sin(1.7*a+phase))
	}
}

// font has the strokes of each letter, as the digits x and y of their points
// on a grid 4 wide and 6 high. A stroke is round where it bends: at a sharp
// corner one stroke ends and another begins.
var font = map[rune]string{
	'1': "0120 2026 0646", '2': "0110404306 0646", '3': "0110404323 2343461605",
	'A': "0620 2046 1434", 'B': "0006 00404303 03434606", 'C': "414000064645",
	'D': "0006 00404606", 'E': "0006 0040 0333 0646", 'F': "0006 0040 0333",
	'G': "414000064643 4323", 'I': "0006", 'L': "0006 0646",
	'M': "0600 0024 2440 4046", 'N': "0600 0046 4640", 'O': "204046060020",
	'P': "0006 00404303", 'R': "0006 00404303 2346", 'S': "4140000343460605",
	'T': "0040 2026", 'U': "000306464340", 'Y': "0023 4023 2326", ':': "0202 0505",
}

type point struct{ x, y float64 }

// lay sets text on the grid, up to end, and returns its strokes.
func lay(text string) (strokes [][]point, end float64) {
	const gap = 2
	for _, r := range text {
		left := end
		for _, s := range strings.Fields(font[r]) {
			var stroke []point
			for ; s != ""; s = s[2:] {
				p := point{left + float64(s[0]-'0'), float64(s[1] - '0')}
				stroke, end = append(stroke, p), max(end, p.x)
			}
			strokes = append(strokes, bend(stroke))
		}
		end += gap
	}
	return strokes, end - gap
}

// bend rounds the corners of a stroke by cutting them off, again and again.
func bend(stroke []point) []point {
	for len(stroke) > 2 && len(stroke) < 24 {
		cut := []point{stroke[0]}
		for i, b := range stroke[1:] {
			cut = append(cut, between(stroke[i], b, 0.25), between(stroke[i], b, 0.75))
		}
		stroke = append(cut, stroke[len(stroke)-1])
	}
	return stroke
}

func between(a, b point, t float64) point {
	return point{a.x + (b.x-a.x)*t, a.y + (b.y-a.y)*t}
}

// shape is the ink of the line. It measures only near to the line: of points
// farther away it is enough to know that they are far.
func (l line) shape(pen float64) shape {
	const far = 30
	strokes, end := lay(l.text)
	unit := l.size / 6
	return func(x, y float64) float64 {
		if y < l.top-far || y > l.top+l.size+far {
			return far
		}
		p, d := point{(x-cx)/unit + end/2, (y - l.top) / unit}, math.Inf(1)
		for _, s := range strokes {
			for i, b := range s[1:] {
				d = min(d, distance(p, s[i], b))
			}
		}
		return d*unit - pen
	}
}

// distance is how far p is from the line from a to b.
func distance(p, a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	t := ((p.x-a.x)*dx + (p.y-a.y)*dy) / max(dx*dx+dy*dy, 1e-9)
	q := between(a, b, clamp(t))
	return math.Sqrt((p.x-q.x)*(p.x-q.x) + (p.y-q.y)*(p.y-q.y))
}

type canvas [height][width]rgb

// fill paints s, with an edge that fades over soft pixels.
func (c *canvas) fill(s shape, soft, opacity float64, paint func(x, y float64) rgb) {
	for j := range c {
		for i := range c[j] {
			x, y := float64(i)+0.5, float64(j)+0.5
			if cover := opacity * clamp(0.5-s(x, y)/soft); cover > 0 {
				c[j][i] = mix(c[j][i], paint(x, y), cover)
			}
		}
	}
}

func (c *canvas) image(grain float64) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for j := range c {
		for i, p := range c[j] {
			g := grain * (hash(i, j) - 0.5)
			m.SetRGBA(i, j, color.RGBA{level(p.r + g), level(p.g + g), level(p.b + g), 255})
		}
	}
	return m
}

func level(v float64) uint8 { return uint8(255*clamp(v) + 0.5) }

type rgb struct{ r, g, b float64 }

var black, white = hex(0x000000), hex(0xffffff)

func hex(v int) rgb {
	return rgb{float64(v>>16) / 255, float64(v>>8&255) / 255, float64(v&255) / 255}
}

func flat(c rgb) func(x, y float64) rgb { return func(x, y float64) rgb { return c } }

func mix(a, b rgb, t float64) rgb {
	return rgb{a.r + (b.r-a.r)*t, a.g + (b.g-a.g)*t, a.b + (b.b-a.b)*t}
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

// fbm is noise in octaves, each finer and fainter than the one before.
func fbm(x, y float64) float64 {
	return (4*noise(x, y) + 2*noise(2*x, 2*y) + noise(4*x, 4*y)) / 7
}

// noise is a smooth surface through a random height at each whole x and y.
func noise(x, y float64) float64 {
	i, j := math.Floor(x), math.Floor(y)
	u, v := x-i, y-j
	u, v = u*u*(3-2*u), v*v*(3-2*v)
	row := func(j int) float64 { return hash(int(i), j)*(1-u) + hash(int(i)+1, j)*u }
	return row(int(j))*(1-v) + row(int(j)+1)*v
}

// hash is between 0 and 1, and looks random, but is the same every time.
func hash(i, j int) float64 {
	h := uint32(i)*0x9e3779b1 ^ uint32(j)*0x85ebca77
	h = (h ^ h>>15) * 0x2c1b3c6d
	h = (h ^ h>>12) * 0x297a2d39
	return float64(h^h>>15) / (1 << 32)
}

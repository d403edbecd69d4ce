package main

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"porthole/testdata/rpicam/card"
)

// A request is what a mode is chosen for. All of it is a wish.
type request struct {
	width, height, bits int
	fps                 float64 // 0: any
}

// newRequest returns what a version looks for. It may be libcamera that does: then the
// rate does not count, and the depth is 12 bits if none is wanted.
func newRequest(v version, s settings) request {
	r := request{s.width, s.height, 12, 0}
	switch {
	case s.noRaw:
	case v.since(bookworm):
		if s.mode.bits != 0 {
			r = request{s.mode.width, s.mode.height, s.mode.bits, 0}
		}
		r.fps = s.framerate
	case s.mode.bits != 0:
		r = request{s.mode.width, s.mode.height, s.mode.bits, 0}
	case v.since(rateForMode) && s.framerate > 0:
		r = request{s.width, s.height, 16, s.framerate}
	}
	return r
}

// choose returns the mode with the lowest score, the last of equal ones, as
// RPiCamApp::selectMode in core/rpicam_app.cpp does, and libcamera's findBestFormat in
// pipeline/rpi/common/pipeline_base.cpp without the rate. The log gets all scores.
func (s *sensor) choose(r request, log io.Writer) (best mode) {
	wanted := fmt.Sprintf("%d:%d:%d:P", r.width, r.height, r.bits)
	if r.fps > 0 {
		wanted += "(" + number(r.fps) + ")"
	}
	fmt.Fprintln(log, "Mode selection for", wanted)
	lowest := math.MaxFloat64
	for _, m := range s.modes {
		score := m.score(r)
		if score <= lowest {
			lowest, best = score, m
		}
		fps := 0.0 // not asked for
		if r.fps > 0 {
			fps = m.fps
		}
		fmt.Fprintf(log, "    %s,%dx%d/%s - Score: %s\n", s.format(m.bits), m.width, m.height, number(fps), number(score))
	}
	return best
}

// number formats one as C++ does.
func number(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

// score tells how far a mode is from what is wanted.
func (m mode) score(r request) float64 {
	score := distance(float64(r.width), float64(m.width)) + distance(float64(r.height), float64(m.height))
	score += 1500 * distance(float64(r.width)/float64(r.height), float64(m.width)/float64(m.height))
	if r.fps > 0 {
		score += 2000 * (r.fps - min(m.fps, r.fps))
	}
	return score + 500*math.Abs(float64(r.bits-m.bits))
}

// distance is less for what is too large than for what is too small.
func distance(wanted, actual float64) float64 {
	if actual > wanted {
		return (actual - wanted) / 8 * 2
	}
	return (wanted - actual) * 2
}

// seen returns what pictures show of the sensor's field. The ISP cuts what the mode reads to
// the picture's shape, the same on both sides; but it stretches a region that is asked for.
func (m mode) seen(c sensor, s settings) card.Window {
	x, y := float64(m.crop.x), float64(m.crop.y)
	width, height := float64(m.crop.width), float64(m.crop.height)
	if s.region != nil {
		x, y = x+s.region[0]*width, y+s.region[1]*height
		width, height = width*s.region[2], height*s.region[3]
	} else {
		// Pixels of the mode may be those of the sensor, or more of them.
		pixelWidth, pixelHeight := width/float64(m.width), height/float64(m.height)
		cutWidth, cutHeight := boundTo(m.width, m.height, s.width, s.height)
		x += (width - float64(cutWidth)*pixelWidth) / 2
		y += (height - float64(cutHeight)*pixelHeight) / 2
		width, height = float64(cutWidth)*pixelWidth, float64(cutHeight)*pixelHeight
	}
	w := card.Window{
		Left: x / float64(c.width), Right: (x + width) / float64(c.width),
		Top: y / float64(c.height), Bottom: (y + height) / float64(c.height),
	}
	if s.hflip {
		w.Left, w.Right = w.Right, w.Left
	}
	if s.vflip {
		w.Top, w.Bottom = w.Bottom, w.Top
	}
	return w
}

// boundTo returns the largest size within one that has the shape of another.
func boundTo(width, height, shapeWidth, shapeHeight int) (int, int) {
	if width*shapeHeight > height*shapeWidth {
		return height * shapeWidth / shapeHeight, height
	}
	return width, width * shapeHeight / shapeWidth
}

//go:build linux && (arm || arm64)

package main

import (
	"fmt"
	"slices"
	"strings"
)

// A piSensor is a camera that rpicam-vid --list-cameras lists.
type piSensor struct {
	index         int    // for --camera
	name          string // "imx708_wide"
	width, height int    // of its whole array, pixels
	modes         []sensorMode
}

// A sensorMode is a way in which a sensor gives pictures. Most sensors have some that leave
// out the edges.
type sensorMode struct {
	width, height int
	bits          int     // per pixel
	packed        bool    // pixels are not padded to bytes
	fps           float64 // the most frames per second; 0: not known

	// The part of the array that it sees, in the array's pixels; 0: not known.
	cropWidth, cropHeight int
}

// maxArray is more than the width and height of any sensor, in pixels.
const maxArray = 32767

// parseSensors reads what rpicam-vid --list-cameras prints:
//
//	0 : imx708 [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)
//	    Modes: 'SRGGB10_CSI2P' : 1536x864 [120.13 fps - (768, 432)/3072x1728 crop]
//	                             2304x1296 [56.03 fps - (0, 0)/4608x2592 crop]
//
// Until 2022 there were only the sizes, several on a line.
func parseSensors(list string) (sensors []piSensor) {
	var format string
	for line := range strings.Lines(list) {
		var s piSensor
		if n, _ := fmt.Sscanf(line, "%d : %s [%dx%d", &s.index, &s.name, &s.width, &s.height); n >= 2 {
			if s.name = printable(s.name); max(s.width, s.height) > maxArray {
				s.width, s.height = 0, 0
			}
			sensors = append(sensors, s)
			continue
		}
		if parts := strings.SplitN(line, "'", 3); len(parts) == 3 {
			format, line = parts[1], strings.TrimLeft(parts[2], " :")
		}
		if len(sensors) > 0 && format != "" {
			last := &sensors[len(sensors)-1]
			last.modes = append(last.modes, parseModes(last, format, line)...)
		}
	}
	return sensors
}

// parseModes reads the sizes on a line, which are of a pixel format like "SRGGB10_CSI2P".
func parseModes(s *piSensor, format, line string) (modes []sensorMode) {
	m := sensorMode{packed: strings.HasSuffix(format, "_CSI2P")}
	fmt.Sscanf(strings.TrimLeft(format, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "%d", &m.bits)
	for {
		line = strings.TrimSpace(line)
		size, rest, _ := strings.Cut(line, " ")
		if n, _ := fmt.Sscanf(size, "%dx%d", &m.width, &m.height); n < 2 || min(m.width, m.height) < 1 || max(m.width, m.height) > maxArray {
			return modes
		}
		m.fps, m.cropWidth, m.cropHeight = 0, 0, 0
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "[") {
			var x, y int
			fmt.Sscanf(rest, "[%f fps - (%d, %d)/%dx%d crop]", &m.fps, &x, &y, &m.cropWidth, &m.cropHeight)
			_, rest, _ = strings.Cut(rest, "]")
		}
		modes, line = append(modes, m.checked(s)), rest
	}
}

// checked returns the mode without a crop and rate that it cannot have: while another program
// has the camera, the list says 65535x65535 and 30 frames per second of all modes. Then a mode
// of the array's size, or of half of it, sees everything, as it does with all sensors for
// the Raspberry Pi.
func (m sensorMode) checked(s *piSensor) sensorMode {
	if m.cropWidth > s.width || m.cropHeight > s.height {
		m.fps, m.cropWidth, m.cropHeight = 0, 0, 0
	}
	if !(m.fps > 0) { // it may be NaN
		m.fps = 0
	}
	whole := m.width == s.width && m.height == s.height || 2*m.width == s.width && 2*m.height == s.height
	if m.cropWidth <= 0 || m.cropHeight <= 0 {
		m.cropWidth, m.cropHeight = 0, 0
		if whole {
			m.cropWidth, m.cropHeight = s.width, s.height
		}
	}
	return m
}

// largestMode returns the size of the largest mode; 0 without any.
func largestMode(modes []sensorMode) (width, height int) {
	for _, m := range modes {
		if m.width*m.height > width*height {
			width, height = m.width, m.height
		}
	}
	return width, height
}

// usefulModes lists the modes without those that another of the same size makes useless: one of
// more bits that is as fast, or one before it of as many. Those of a size stand one behind the
// other, the deepest first.
func usefulModes(modes []sensorMode) (useful []sensorMode) {
	for n, m := range modes {
		sameSize := func(other sensorMode) bool { return other.width == m.width && other.height == m.height }
		better := func(other sensorMode) bool { return sameSize(other) && other.bits > m.bits && other.fps >= m.fps }
		equal := func(other sensorMode) bool { return sameSize(other) && other.bits == m.bits }
		if m.bits == 0 || slices.ContainsFunc(modes, better) || slices.ContainsFunc(modes[:n], equal) {
			continue
		}
		at := len(useful)
		for i, other := range slices.Backward(useful) {
			if sameSize(other) && other.bits < m.bits {
				at = i
			} else if sameSize(other) && at == len(useful) {
				at = i + 1
			}
		}
		useful = slices.Insert(useful, at, m)
	}
	return useful
}

// wholeView returns the part of the array that the modes see that see most of it.
func wholeView(modes []sensorMode) (width, height int) {
	for _, m := range modes {
		if m.cropWidth*m.cropHeight > width*height {
			width, height = m.cropWidth, m.cropHeight
		}
	}
	return width, height
}

// chooseMode returns the index of the mode for pictures of a size and rate, or -1 if it is not
// known which ones see everything. It is the smallest that sees everything, is fast enough
// and not smaller than the picture. If it cannot have all of that, it may be smaller than
// the picture, and last too slow: then it is the smallest, which is the fastest.
func chooseMode(modes []sensorMode, width, height int, fps float64) int {
	viewWidth, viewHeight := wholeView(modes)
	best, bestRank := -1, 0
	for i, m := range modes {
		if viewWidth == 0 || m.cropWidth != viewWidth || m.cropHeight != viewHeight {
			continue
		}
		rank := 1
		if m.fps == 0 || m.fps*1.01 >= fps { // a sensor's 30 frames per second may be 29.97
			rank = 2
			if m.width >= width && m.height >= height {
				rank = 3
			}
		}
		if best < 0 || rank > bestRank || rank == bestRank && modes[best].worseThan(m, rank) {
			best, bestRank = i, rank
		}
	}
	return best
}

// worseThan reports whether another mode of the same rank for chooseMode is to be preferred.
func (m sensorMode) worseThan(other sensorMode, rank int) bool {
	larger := other.width*other.height - m.width*m.height
	switch {
	case larger == 0:
		return rank == 1 && other.fps > m.fps
	case rank == 2: // none is as large as the picture
		return larger > 0
	}
	return larger < 0
}

// argument returns the mode as --mode takes it.
func (m sensorMode) argument() string {
	packing := "U"
	if m.packed {
		packing = "P"
	}
	return fmt.Sprintf("%d:%d:%d:%s", m.width, m.height, m.bits, packing)
}

func (m sensorMode) size() string { return fmt.Sprintf("%dx%d", m.width, m.height) }

// describeModes tells of each mode what it sees and how fast it is: "2304x1296, whole field of
// view, up to 56 fps".
func describeModes(modes []sensorMode) (texts []string) {
	viewWidth, viewHeight := wholeView(modes)
	for i, m := range modes {
		text := m.size()
		if i > 0 && modes[i-1].size() == text {
			text += fmt.Sprintf(" with %d bits", m.bits)
		}
		text += ", " + describeView(m.cropWidth, m.cropHeight, viewWidth, viewHeight)
		if m.fps > 0 {
			text += fmt.Sprintf(", up to %d fps", int(m.fps))
		}
		texts = append(texts, text)
	}
	return texts
}

// describeView tells which part of the field of view a part of the array is.
func describeView(width, height, viewWidth, viewHeight int) string {
	if width == 0 {
		return "field of view not known"
	}
	w, h := percent(width, viewWidth), percent(height, viewHeight)
	switch {
	case w == 100 && h == 100:
		return "whole field of view"
	case w == h:
		return fmt.Sprintf("%d %% of the width and height", w)
	case w == 100:
		return fmt.Sprintf("%d %% of the height", h)
	case h == 100:
		return fmt.Sprintf("%d %% of the width", w)
	}
	return fmt.Sprintf("%d %% of the width, %d %% of the height", w, h)
}

// percent returns how much of whole a part is, rounded.
func percent(part, whole int) int { return (100*part + whole/2) / whole }

// cutOff tells what a picture of a size leaves out of what the mode sees: libcamera cuts
// off the edges when the shapes differ. It is "" for less than 1 %.
func (m sensorMode) cutOff(width, height int) string {
	if m.cropWidth == 0 {
		return ""
	}
	seenWidth, seenHeight := m.cropHeight*width/height, m.cropWidth*height/width // with the picture's shape
	part, what := 100-percent(seenWidth, m.cropWidth), "width"
	if seenWidth > m.cropWidth {
		part, what = 100-percent(seenHeight, m.cropHeight), "height"
	}
	if part < 1 {
		return ""
	}
	whole := (width*m.cropHeight/m.cropWidth + 1) &^ 1
	return fmt.Sprintf("%dx%d cuts off %d %% of the %s: %dx%d shows all", width, height, part, what, width, whole)
}

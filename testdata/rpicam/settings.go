package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are what the values of the options ask for.
type settings struct {
	camera        int
	verbose       int
	width, height int
	timeout       time.Duration // 0: for ever
	frames        int           // 0: no limit
	framerate     float64       // 0: not given
	mode          wantedMode
	noRaw         bool
	buffers       int
	hflip, vflip  bool
	region        []float64 // x, y, width and height in parts of the mode's field; nil: all
	sensorHDR     bool
	codec         string
	quality       int
	output        string
}

// A wantedMode is the value of --mode; all zero if none was given.
type wantedMode struct{ width, height, bits int }

// A refusal is what the program says of a wrong value.
type refusal string

func (r refusal) Error() string { return string(r) }

// newSettings checks the values in the order in which the program does, and tells of the
// first wrong one as it does.
func newSettings(v version, given values) (s settings, err error) {
	s = settings{
		camera:    given.natural("camera"),
		verbose:   given.natural("verbose"),
		width:     cmp.Or(given.natural("width")&^1, 640),
		height:    cmp.Or(given.natural("height")&^1, 480),
		frames:    given.natural("frames"),
		framerate: max(given.float("framerate"), 0),
		noRaw:     given.flag("no-raw"),
		buffers:   cmp.Or(given.natural("buffer-count"), 6),
		hflip:     given.flag("hflip"),
		vflip:     given.flag("vflip"),
		region:    parseRegion(given["roi"]),
		sensorHDR: slices.Contains([]string{"1", "sensor", "auto"}, given["hdr"]),
		codec:     strings.ToLower(given["codec"]),
		quality:   given.integer("quality"),
		output:    given["output"],
	}
	if s.timeout, err = parseDuration(given["timeout"], time.Millisecond); err != nil {
		return s, err
	}
	for _, check := range []func(version, values) error{checkWords, checkRotation, checkNumbers} {
		if err := check(v, given); err != nil {
			return s, err
		}
	}
	if given.integer("rotation")%360 == 180 || given.integer("rotation")%360 == -180 {
		s.hflip, s.vflip = !s.hflip, !s.vflip
	}
	s.mode, err = parseMode(given["mode"])
	return s, err
}

func checkRotation(_ version, given values) error {
	switch rotation := given.integer("rotation"); {
	case rotation%90 != 0:
		return refusal("illegal rotation value")
	case rotation%180 != 0:
		return refusal("transforms requiring transpose not supported")
	}
	return nil
}

// checkWords checks options whose value is one of some words. Where the program puts
// another option's value into its message, so do we.
func checkWords(v version, given values) error {
	for _, o := range []struct{ name, complaint, words string }{
		{"hdr", "Invalid HDR option provided: " + given["hdr"], "off single-exp sensor auto"},
		{"metering", "Invalid metering mode: " + given["metering"], "centre spot average matrix custom"},
		{"exposure", "Invalid exposure mode:" + given["exposure"], "normal sport short long custom"},
		{"autofocus-mode", "Invalid AfMode:" + given["autofocus-mode"], "default manual auto continuous"},
		{"autofocus-range", "Invalid AfRange mode:" + given["exposure"], "normal macro full"},
		{"autofocus-speed", "Invalid afSpeed mode:" + given["autofocus-speed"], "normal fast"},
		{"awb", "Invalid AWB mode: " + given["awb"],
			"auto normal incandescent tungsten fluorescent indoor daylight cloudy custom"},
		{"metadata-format", "unrecognised metadata format " + given["metadata-format"], "json txt"},
		{"codec", "unrecognised codec " + given["codec"], "h264 libav yuv420 mjpeg"},
		{"initial", "incorrect initial value " + given["initial"], "pause record"},
		{"sync", "incorrect sync value " + given["sync"], "off server client"},
		{"denoise", "Invalid denoise mode " + given["denoise"], "auto off cdn_off cdn_fast cdn_hq"},
	} {
		value, known := given[o.name]
		if !known || o.name == "hdr" && !v.since(bookworm) {
			continue
		}
		if slices.Contains([]string{"codec", "initial", "metadata-format", "sync"}, o.name) {
			value = strings.ToLower(value)
		}
		if !slices.Contains(strings.Fields(o.words), value) {
			return refusal(o.complaint)
		}
	}
	return nil
}

// checkNumbers checks options whose value has numbers in it.
func checkNumbers(v version, given values) error {
	lens := given["lens-position"]
	if _, ok := leadingFloat(lens); lens != "" && lens != "default" && !ok {
		return refusal("Invalid lens position: " + lens)
	}
	if v.since(bookworm) {
		for _, name := range []string{"shutter", "flicker-period"} {
			if _, err := parseDuration(given[name], time.Microsecond); err != nil {
				return err
			}
		}
	}
	if len(floats(given["awbgains"])) < 2 {
		return refusal("Invalid AWB gains")
	}
	if ccm := given["ccm"]; ccm != "" && len(floats(ccm)) < 9 {
		return refusal("Invalid CCM - expect 9 comma-separated floating point numbers")
	}
	return nil
}

// parseMode reads W:H:bits:packing as the program does: the end may be left out.
func parseMode(s string) (m wantedMode, err error) {
	if s == "" {
		return m, nil
	}
	var packing byte
	n, _ := fmt.Sscanf(s, "%d:%d:%d:%c", &m.width, &m.height, &m.bits, &packing)
	switch {
	case n < 2:
		return m, refusal("Invalid mode")
	case n == 2:
		m.bits = 12
	case n == 4 && !strings.ContainsRune("PpUu", rune(packing)):
		return m, refusal("Packing indicator should be P or U")
	}
	return m, nil
}

// parseRegion reads four numbers; what is none, or has no size, means all.
func parseRegion(s string) []float64 {
	if f := floats(s); len(f) >= 4 && f[2] != 0 && f[3] != 0 {
		return f[:4]
	}
	return nil
}

// floats reads numbers with commas between them, until something else comes.
func floats(s string) (f []float64) {
	for _, field := range strings.Split(s, ",") {
		n, ok := leadingFloat(field)
		if !ok {
			break
		}
		f = append(f, n)
	}
	return f
}

// leadingFloat reads the number that a text begins with.
func leadingFloat(s string) (float64, bool) {
	n, rest := cutFloat(s)
	return n, len(rest) < len(s)
}

func cutFloat(s string) (n float64, rest string) {
	for end := len(s); end > 0; end-- {
		if n, err := strconv.ParseFloat(s[:end], 32); err == nil {
			return n, s[end:]
		}
	}
	return 0, s
}

// parseDuration reads a number and its unit. What is no unit is not looked at.
func parseDuration(s string, unit time.Duration) (time.Duration, error) {
	n, rest := cutFloat(s)
	if len(rest) == len(s) || math.IsNaN(n) {
		return 0, refusal("Invalid time string provided")
	}
	units := map[string]time.Duration{
		"min": time.Minute, "sec": time.Second, "s": time.Second,
		"ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond,
	}
	if given, ok := units[rest]; ok {
		unit = given
	}
	return time.Duration(n * float64(unit)), nil
}

package main

import (
	"fmt"
	"io"
	"strings"
)

// A sensor is a chip as libcamera knows it on a board with one receiver (VC4), like a Zero.
type sensor struct {
	name          string // of the chip, in the device tree
	address       int    // on the I2C bus
	width, height int    // pixels
	order         string // of the colours in the first two rows
	modes         []mode
}

// A mode is one of a sensor's ways to be read out.
type mode struct {
	bits          int // per pixel
	width, height int // of what is read
	fps           float64
	crop          area
}

// An area is a part of a sensor, in its pixels.
type area struct{ x, y, width, height int }

func (a area) String() string { return fmt.Sprintf("(%d, %d)/%dx%d", a.x, a.y, a.width, a.height) }

// Modes as --list-cameras printed them. Rates of the OV5647 and of the IMX219's smallest
// mode depend on the kernel and on libcamera: those of before, between, and since Debian 13.
var (
	imx219Whole = area{0, 0, 3280, 2464}
	imx477Whole = area{0, 0, 4056, 3040}
	imx708Whole = area{0, 0, 4608, 2592}
	ov5647Whole = area{0, 0, 2592, 1944}

	imx477Modes = []mode{
		{10, 1332, 990, 120.05, area{696, 528, 2664, 1980}},
		{12, 2028, 1080, 50.03, area{0, 440, 4056, 2160}},
		{12, 2028, 1520, 40.01, imx477Whole},
		{12, 4056, 3040, 10.00, imx477Whole},
	}
	imx708Modes = []mode{
		{10, 1536, 864, 120.1346, area{768, 432, 3072, 1728}},
		{10, 2304, 1296, 56.0255, imx708Whole},
		{10, 4608, 2592, 14.3536, imx708Whole},
	}
	imx708HDRModes = []mode{{10, 2304, 1296, 30.00, imx708Whole}}
)

func imx219Modes(v version) []mode {
	fastest := 206.65
	if v.since(trixie) {
		fastest = 103.33
	}
	var modes []mode
	for _, bits := range []int{10, 8} {
		modes = append(modes,
			mode{bits, 640, 480, fastest, area{1000, 752, 1280, 960}},
			mode{bits, 1640, 1232, 41.85, imx219Whole},
			mode{bits, 1920, 1080, 47.57, area{680, 692, 1920, 1080}},
			mode{bits, 3280, 2464, 21.19, imx219Whole})
	}
	return modes
}

func ov5647Modes(v version) []mode {
	rates := []float64{58.92, 43.25, 30.62, 15.63}
	if v.since(bookworm) {
		rates = []float64{58.92, 46.34, 32.81, 15.63}
	}
	if v.since(trixie) {
		rates[0] = 62.50
	}
	return []mode{
		{10, 640, 480, rates[0], area{16, 0, 2560, 1920}},
		{10, 1296, 972, rates[1], ov5647Whole},
		{10, 1920, 1080, rates[2], area{348, 434, 1928, 1080}},
		{10, 2592, 1944, rates[3], ov5647Whole},
	}
}

// newSensor returns the one of a module: imx708_wide is an imx708.
func newSensor(module string, v version, hdr bool) (sensor, error) {
	switch chip, _, _ := strings.Cut(module, "_"); chip {
	case "imx219":
		return sensor{chip, 0x10, 3280, 2464, "RGGB", imx219Modes(v)}, nil
	case "imx477":
		return sensor{chip, 0x1a, 4056, 3040, "RGGB", imx477Modes}, nil
	case "imx708":
		if hdr {
			return sensor{chip, 0x1a, 4608, 2592, "RGGB", imx708HDRModes}, nil
		}
		return sensor{chip, 0x1a, 4608, 2592, "RGGB", imx708Modes}, nil
	case "ov5647":
		return sensor{chip, 0x36, 2592, 1944, "GBRG", ov5647Modes(v)}, nil
	}
	return sensor{}, fmt.Errorf("no such camera: %q", module)
}

// A module is a camera at the board.
type module struct {
	sensor
	model string
	id    string // libcamera's: where it is in the device tree
	busy  bool   // in use by another process
}

// newModules returns cameras by their models. The first is at the connector that all
// boards have.
func newModules(models []string, v version, s settings) (modules []module, err error) {
	for i, model := range models {
		chip, err := newSensor(model, v, s.sensorHDR && i == s.camera)
		if err != nil {
			return nil, err
		}
		id := fmt.Sprintf("/base/soc/i2c0mux/i2c@%d/%s@%x", (i+1)%2, chip.name, chip.address)
		modules = append(modules, module{sensor: chip, model: model, id: id})
	}
	return modules, nil
}

func (s *sensor) format(bits int) string {
	if bits == 8 {
		return fmt.Sprintf("S%s8", s.order)
	}
	return fmt.Sprintf("S%s%d_CSI2P", s.order, bits)
}

// mostBits returns the greatest depth of a sensor's modes.
func (s *sensor) mostBits() (most int) {
	for _, m := range s.modes {
		most = max(most, m.bits)
	}
	return most
}

// list prints what --list-cameras does.
func list(w io.Writer, v version, modules []module, verbose int) {
	if len(modules) == 0 {
		fmt.Fprintln(w, "No cameras available!")
		return
	}
	fmt.Fprint(w, "Available cameras\n-----------------\n")
	for i, c := range modules {
		colours := ""
		if v.since(bookworm) {
			colours = fmt.Sprintf(" %d-bit %s", c.mostBits(), c.order)
		}
		fmt.Fprintf(w, "%d : %s [%dx%d%s] (%s)\n    Modes: ", i, c.model, c.width, c.height, colours, c.id)
		c.listModes(w, v)
		if v.since(controlsInList) {
			if verbose > 1 {
				c.listControls(w)
			}
			fmt.Fprintln(w)
		}
	}
}

// listModes prints modes, those of a depth one below the other. Old versions print sizes
// alone, in one line.
func (c *module) listModes(w io.Writer, v version) {
	for i, m := range c.modes {
		format := fmt.Sprintf("'%s' : ", c.format(m.bits))
		switch {
		case i == 0:
			fmt.Fprint(w, format)
		case m.bits != c.modes[i-1].bits:
			fmt.Fprintf(w, "\n           %s", format)
		case v.since(ratesInList):
			fmt.Fprintf(w, "\n           %*s", len(format), "")
		}
		fmt.Fprintf(w, "%dx%d ", m.width, m.height)
		if v.since(ratesInList) {
			fps, crop := c.told(v, m)
			fmt.Fprintf(w, "[%.2f fps - %v crop]", fps, crop)
		}
	}
	fmt.Fprintln(w)
}

// told returns what the list says of a mode. A camera that is in use cannot be asked: then
// the list has libcamera's defaults.
func (c *module) told(v version, m mode) (fps float64, crop area) {
	switch {
	case !c.busy:
		return m.fps, m.crop
	case v.since(dmaHeaps):
		return 30, area{65535, 65535, 65535, 65535}
	default:
		return 30, area{}
	}
}

// listControls prints some of the controls of the largest mode.
func (c *module) listControls(w io.Writer) {
	title := fmt.Sprintf("Available controls for %dx%d %s mode:", c.width, c.height, c.format(c.mostBits()))
	fmt.Fprintf(w, "\n    %s\n    %s\n", title, strings.Repeat("-", len(title)))
	if c.name == "imx708" {
		fmt.Fprint(w, "    AfMode : [0..2]\n    LensPosition : [0.000000..32.000000]\n")
	}
	fmt.Fprintf(w, "    ScalerCrop : [(0, 0)/64x64..(0, 0)/%dx%d]\n", c.width, c.height)
}

//go:build linux && (arm || arm64)

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/mjpeg"
	"porthole/v4l2"
)

// An rpicamCamera is the program of libcamera, which reads the camera at the flat cable of a
// Raspberry Pi. All its settings are arguments, so it is opened again to change one.
type rpicamCamera struct {
	pipeCamera
	board    *pi
	program  *piProgram
	controls []*piControl // that the program knows
	modes    []sensorMode
	fps      float64    // that it is asked for
	options  [][]string // the arguments: each option with what it takes

	orientation int      // an Exif orientation that is left to do; 0: none
	remarks     []string // for the log
}

// smallMemory is up to where a board gets three buffers of each kind, raw and not, instead of six,
// in bytes. They are of contiguous memory (CMA), of which a Zero has 64 MB: six raw ones of
// 4608x2592 would take 90.
const smallMemory = 1 << 30

// openRpicam returns the camera that a program reads for us. The kernel has found the chip first,
// or that is "".
func openRpicam(board *pi, program *piProgram, chip string, want settings) (camera, error) {
	_, which := want.driver()
	sensor, err := program.choose(which)
	if err != nil {
		return nil, err
	}
	if sensor.index == 0 {
		sensor.name = cmp.Or(sensor.name, chip)
	}
	c := &rpicamCamera{board: board, program: program, fps: cmp.Or(want.fps, 30), pipeCamera: pipeCamera{
		info: cameraInfo{
			Name:   strings.TrimSpace("Raspberry Pi camera " + sensor.name),
			Driver: filepath.Base(program.path),
			Format: "MJPG", Encoder: filepath.Base(program.path),
			Width:  want.width &^ 1, // its pictures are YUV420
			Height: want.height &^ 1,
		},
	}}
	if c.fps < slowRate && exposureSet(want.set) <= time.Second/slowRate {
		c.fps = startRate // pictures too many are left out
	}
	encoders := boardEncoders(board.kernel, want)
	ours := want.encoder == encoderOwn || !board.simd
	raw := !board.padded && (ours || encodable(encoders, rawVideo))
	if raw {
		c.info.Width = max((c.info.Width+rawColumns/2)/rawColumns, 1) * rawColumns
	}
	all, values, err := c.chooseControls(&sensor, want)
	if err != nil {
		return nil, &advisedError{c.info.Name + ": " + err.Error(), nil}
	}
	c.faster = want.fps > 0 && c.fps > want.fps
	c.stall = stallAfter(interval(c.fps))
	codec := [][]string{{"--codec", "yuv420"}}
	if !raw || !c.useRaw(encoders, ours, want.quality) {
		codec = [][]string{{"--codec", "mjpeg"}, {"-q", strconv.Itoa(want.quality)}}
		c.pictures = &jpegPictures{repair: mjpeg.Repairer{Orientation: c.orientation}}
	}
	c.options = append(c.streamOptions(sensor.index, codec), arguments(all, values)...)
	c.makeArguments()
	c.info.Width, c.info.Height = want.turn.size(c.info.Width, c.info.Height)
	if others := program.sensors(); len(others) > 1 {
		c.remarks = append(c.remarks, fmt.Sprintf("%s: took pi:%d of %s; choose with -camera", c.info.Name, sensor.index, listSensors(others)))
	}
	return c, nil
}

// rawVideo is the format of raw pictures by --codec yuv420. The program writes rows with their
// padding, of which it does not tell. There is none in pictures whose width is a multiple of
// rawColumns.
var rawVideo = v4l2.MakeFourCC("YU12")

const rawColumns = 64

// useRaw prepares for raw pictures, of which an encoder of the board makes JPEGs or, if there is
// none, ours. It reports whether that is possible. If not, the program makes JPEGs.
//
// It does so with libjpeg-turbo. Where that has SIMD, it takes a third of the time of our encoder
// (0.6 and 2 ms of a PC, for 640x480), on any number of cores. On a Pi Zero, which has none, ours
// takes a quarter of its time.
func (c *rpicamCamera) useRaw(encoders []v4l2.EncoderNode, ours bool, quality int) bool {
	e := &encoder{name: &c.info.Encoder, log: func(line string) { c.log.print(line) }}
	format := mjpeg.RawFormat{PixelFormat: rawVideo.String(), Width: c.info.Width, Height: c.info.Height, Orientation: c.orientation}
	instead := c.info.Driver
	if ours {
		instead = encoderOurs
	}
	var err error
	if e.board, err = openBoardEncoder(c.board.kernel, encoders, format, quality, c.fps); err != nil {
		c.remarks = append(c.remarks, fmt.Sprintf("%v: %s encodes the pictures", err, instead))
	}
	name := encoderOurs
	switch {
	case e.board != nil:
		name, format, e.memory = e.board.name, e.board.raw, e.board.device.Planes()
	case ours:
		e.memory = [][]byte{make([]byte, format.Width*format.Height*3/2)}
	default:
		return false
	}
	pictures := &rawPictures{encoder: e, format: format, pause: rawPause(interval(c.fps))}
	if err = pictures.lay(); err == nil {
		e.own, err = mjpeg.NewEncoder(format, quality)
	}
	if err != nil {
		c.remarks = append(c.remarks, fmt.Sprintf("%s: %v: %s encodes the pictures", name, err, c.info.Driver))
		e.Close()
		return false
	}
	c.pictures = pictures
	c.info.Format, c.info.Encoder = format.PixelFormat, name
	return true
}

// streamOptions returns the options for pictures of a camera, each with what it takes.
func (c *rpicamCamera) streamOptions(index int, codec [][]string) [][]string {
	options := [][]string{
		{"-t", "0"},     // for ever
		{"-n"},          // without a preview
		{"--verbose=0"}, // by default it reports every frame
	}
	options = append(options, codec...)
	options = append(options, [][]string{
		{"--width", strconv.Itoa(c.info.Width)},
		{"--height", strconv.Itoa(c.info.Height)},
		{"--framerate", strconv.FormatFloat(c.fps, 'f', -1, 64)},
		{"--flush"}, // each frame when it is done
		{"-o", "-"}, // to standard output
	}...)
	if index > 0 {
		options = append(options, []string{"--camera", strconv.Itoa(index)})
	}
	if c.board.memory > 0 && c.board.memory <= smallMemory {
		options = append(options, []string{"--buffer-count", "3"})
	}
	return options
}

// chooseControls chooses the sensor's mode. It returns all controls, also those that the program
// is too old for, and their values after some were set.
func (c *rpicamCamera) chooseControls(s *piSensor, want settings) (all []*piControl, values map[string]int64, err error) {
	all = piControls(s)
	mode := -1
	if len(s.modes) > 0 {
		c.modes = usefulModes(s.modes)
		needed := c.fps
		if want.still {
			needed = min(needed, slowRate)
		}
		mode = chooseMode(c.modes, c.info.Width, c.info.Height, needed)
		all = append([]*piControl{newModeControl(c.modes, mode)}, all...)
	}
	assigned, err := assignKnown(v4l2Controls(all), asNumbers(c.modes, want.set))
	if err != nil {
		return nil, nil, err
	}
	values = piValues(all, assigned)
	c.turnItself(want.turn, assigned, values)
	if n := values[modeControl]; n > 0 {
		mode = int(n - 1)
	}
	if mode >= 0 {
		all[0].Label += c.useMode(c.modes[mode], describeModes(c.modes)[mode])
	}
	if longest := 1e4 / c.fps; values[autoExposure] == 1 && float64(values[exposureTime]) > longest {
		c.remarks = append(c.remarks, fmt.Sprintf("%s: %s=%d is longer than pictures at %v fps last, which is %d: choose fewer with -fps",
			c.info.Name, exposureTime, values[exposureTime], c.fps, int(longest)))
	}
	c.controls = c.program.known(all)
	return all, values, nil
}

// useMode asks for no more frames than a mode gives, or rpicam-vid would take a faster mode that
// sees less. It returns what the page should say of the mode.
func (c *rpicamCamera) useMode(m sensorMode, text string) (remark string) {
	if cutOff := m.cutOff(c.info.Width, c.info.Height); cutOff != "" {
		text += "; " + cutOff
		remark = " (" + cutOff + ")"
	}
	if m.fps > 0 && c.fps > m.fps {
		text += fmt.Sprintf("; %v fps are too many for it", c.fps)
		c.fps = m.fps
	}
	c.remarks = append(c.remarks, c.info.Name+": sensor mode "+text)
	return remark
}

// makeArguments puts the options on the program's command line, and leaves out those that
// it is too old for. A camera other than the first needs its option.
func (c *rpicamCamera) makeArguments() {
	c.argv = []string{c.program.path}
	for _, option := range c.options {
		if option[0] == "--camera" || c.program.knows(option[0]) {
			c.argv = append(c.argv, option...)
		} else {
			c.remarks = append(c.remarks, fmt.Sprintf("%s: too old for %s, which is left out", c.info.Driver, option[0]))
		}
	}
}

// setLog logs the remarks, and later what the program says.
func (c *rpicamCamera) setLog(log func(line string)) {
	c.pipeCamera.setLog(log)
	c.logRemarks()
}

func (c *rpicamCamera) logRemarks() {
	for _, remark := range c.remarks {
		c.log.print(remark)
	}
	c.remarks = nil
}

// Capture starts the program again without an option that it does not know.
func (c *rpicamCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	for {
		dst, at, err := c.pipeCamera.Capture(ctx, dst)
		if err == nil || !c.leaveOut(err) {
			return dst, at, c.advise(err)
		}
	}
}

// leaveOut takes the option that the program complains about from its arguments. It reports
// whether there is such an option.
func (c *rpicamCamera) leaveOut(err error) bool {
	_, rest, found := strings.Cut(err.Error(), "unrecognised option '")
	option, _, _ := strings.Cut(rest, "'")
	isGiven := slices.ContainsFunc(c.options, func(given []string) bool {
		name, _, _ := strings.Cut(given[0], "=")
		return name == option
	})
	if !found || !isGiven || !c.program.knows(option) || option == "--camera" {
		return false
	}
	c.program.Unknown = append(c.program.Unknown, option)
	c.board.keep()
	c.makeArguments()
	c.logRemarks()
	c.end()
	return true
}

const noAnswer = "no camera answers at the flat cable: switch the board off and push the cable in at both ends. " +
	"A camera of another maker needs its dtoverlay in config.txt"

// rpicamCures tell what to do about the errors that the program ends with.
var rpicamCures = []struct{ complaint, cure string }{
	{"no cameras available", noAnswer},
	{"selected camera is not available", "there is no such camera: rpicam-vid --list-cameras lists those that there are"},
	{"failed to acquire camera", "in use by another program: end it (pgrep -il cam may show it)"},
	{"failed to allocate", "not enough memory for the camera: try a smaller -size, or another -set mode, or more of it for cameras (CMA) in config.txt"},
	{"dmaHeap allocation failure", "not enough memory for the camera: try a smaller -size, or another -set mode, or more of it for cameras (CMA) in config.txt"},
	{"legacy camera stack", "the system is set up for the legacy camera stack: take start_x=1 out of config.txt, add camera_auto_detect=1, and reboot"},
	{"Device timeout detected", "the camera sends no pictures: switch the board off, and push the flat cable in at both ends, or try another"},
	{"unrecognised option '--camera'", "it is too old to use any camera but the first: sudo apt full-upgrade"},
}

// advise puts what to do in place of an error of the program, if that is known. It notes if
// libcamera does not know the camera: the chip is no camera, or too new for it.
func (c *rpicamCamera) advise(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	c.board.padded = c.board.padded || errors.Is(err, errPadded)
	if strings.Contains(text, "no cameras available") {
		c.board.unsupported = true
		c.board.forget()
	}
	for _, known := range rpicamCures {
		if strings.Contains(text, known.complaint) {
			return &advisedError{c.info.Name + ": " + known.cure, err}
		}
	}
	return err
}

func (c *rpicamCamera) choices() choices {
	// These do not change after the opening, so that another goroutine can read them.
	controls, modes := c.controls, c.modes
	all := v4l2Controls(controls)
	width, height := largestMode(modes)
	return choices{
		Encodes:   true,
		Restarts:  true,
		maxWidth:  width,
		maxHeight: height,
		check:     func(set []controlSetting) error { return checkControls(all, asNumbers(modes, set)) },
		states: func(set []controlSetting) []controlState {
			assigned, _ := assignKnown(all, asNumbers(modes, set)) // wrong ones are not in use
			return piStates(controls, piValues(controls, assigned))
		},
	}
}

// setControls leaves it to the next opening, which choices ask for.
func (c *rpicamCamera) setControls([]controlSetting) error { return nil }

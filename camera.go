package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"sort"
	"strings"
	"time"
	"unicode"
)

// A camera is one open device. It is used by one goroutine at a time.
type camera interface {
	// Capture waits for the next picture, appends it to dst as one complete JPEG, and
	// returns the result and the time at which it was captured. It returns soon after
	// ctx ends. mjpeg.ErrDamaged means that a picture came and was no good. After any
	// other error the camera is closed, and opened again.
	Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error)

	// Info tells which camera this is and what it granted.
	Info() cameraInfo

	// Close undoes everything that opening the camera did.
	Close() error
}

// An configurable camera tells what there is to choose, and has controls that can be
// set while it runs. Its methods are called by another goroutine than the one that captures.
type configurable interface {
	choices() choices
	setControls(set []controlSetting) error // all of them or, with an error, none
}

// A logSetter camera has lines for the log. It calls log from another goroutine, until
// it is closed.
type logSetter interface {
	setLog(log func(line string))
}

// A lineLogger logs a line. A nil one leaves it out.
type lineLogger func(line string)

func (l lineLogger) print(line string) {
	if l != nil {
		l(line)
	}
}

// choices are the settings that a camera can have.
type choices struct {
	Sizes    []string       `json:"sizes"`           // "640x480"; none: any
	Rates    []float64      `json:"rates"`           // frames per second at this size, to hundredths; none: any
	Encodes  bool           `json:"quality_applies"` // we or its driver make the JPEGs, with -quality
	Controls []controlState `json:"controls"`

	// The largest size of a camera that has any, in pixels; 0: not known.
	maxWidth, maxHeight int

	// check reports what is wrong with settings of controls.
	check func(set []controlSetting) error

	// Restarts says that controls are set when the camera is opened, and not while it runs.
	// Then states tells how they are after some were set.
	Restarts bool `json:"controls_restart,omitempty"`
	states   func(set []controlSetting) []controlState
}

// A controlState is a control, and what it is set to.
type controlState struct {
	Name     string      `json:"name"`  // "exposure_time_absolute"
	Label    string      `json:"label"` // "Exposure Time, Absolute"
	Type     string      `json:"type"`  // int, bool or menu
	Min      int64       `json:"min"`
	Max      int64       `json:"max"`
	Step     uint64      `json:"step"`
	Default  *int64      `json:"default,omitempty"` // nil: none
	Value    int64       `json:"value"`
	Menu     []menuEntry `json:"menu,omitempty"`
	Inactive bool        `json:"inactive"` // an automatic mode sets it
	ReadOnly bool        `json:"read_only"`

	WriteOnly bool `json:"write_only,omitempty"` // Value is the default: what it is set to is not known
}

type menuEntry struct {
	Index int64  `json:"value"`
	Name  string `json:"name"` // of an integer menu, the number that it stands for
}

// cameraInfo describes an open camera, for the log, the page and /state.
type cameraInfo struct {
	Name   string  `json:"camera"`      // its own name: "HD Webcam"
	Driver string  `json:"driver"`      // the kernel's name for that: "uvcvideo"
	Device string  `json:"device"`      // "/dev/video0", or "" without one
	Format string  `json:"format"`      // as it comes from the camera: "MJPG"
	Width  int     `json:"width"`       // pixels, as they are seen when pictures are turned
	Height int     `json:"height"`      // pixels
	FPS    float64 `json:"fps_granted"` // frames per second; 0: not known

	// Encoder is who makes the JPEGs: "camera", "rpicam-vid", "porthole", or an encoder of the
	// board, "bcm2835-codec /dev/video31".
	Encoder string `json:"encoder"`

	bus string // where it is connected: "usb-3f980000.usb-1.2"
}

func (i cameraInfo) String() string {
	text := i.Name
	if i.Device != "" {
		text = fmt.Sprintf("%s (%s, %s)", i.Device, i.Name, i.Driver)
	}
	if text += ": "; i.Width > 0 { // else no picture has come yet
		text += fmt.Sprintf("%dx%d ", i.Width, i.Height)
	}
	text += i.Format
	if fps := roundRate(i.FPS); fps > 0 {
		text += fmt.Sprintf(" at %v fps", fps)
	}
	if i.Encoder != "" && i.Encoder != encoderCamera {
		text += ", encoded by " + i.Encoder
	}
	return text
}

// encoderCamera and encoderOurs are who makes the JPEGs if the camera does, and if we do.
const (
	encoderCamera = "camera"
	encoderOurs   = "porthole"
)

// label names the camera in a message: its device or, without one, its name.
func (i cameraInfo) label() string { return cmp.Or(i.Device, i.Name) }

// roundRate rounds a rate to two decimals, as it is shown and chosen: 29.97 frames per
// second are 30000/1001.
func roundRate(fps float64) float64 { return math.Round(100*fps) / 100 }

// printable returns a text from a camera or a program without the characters that would
// change a terminal or the text around it: control characters, those that reverse the
// direction of text, and bytes that are not UTF-8.
func printable(text string) string {
	visible := func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}
	return strings.TrimSpace(strings.Map(visible, strings.ToValidUTF8(text, "?")))
}

// maxRate is more than any camera has, in frames per second.
const maxRate = 240

// settings are what was asked of the camera.
type settings struct {
	camera        string  // "auto", a driver's name, that and one of its cameras: "pi:1", a device: "/dev/video0", or a URL
	width, height int     // pixels, before pictures are turned
	turn                  // of pictures
	fps           float64 // frames per second; 0: the driver's choice
	quality       int     // of JPEGs that we encode, 1 to 100
	encoder       string  // encoderAuto, encoderBoard or encoderOwn
	set           []controlSetting
	still         bool // one picture is wanted: its size matters, and not how many more there could be

	last cameraInfo // of the camera that gave pictures last, which is preferred
	twin bool       // another camera with its name was seen
}

// -encoder: who makes the JPEGs.
const (
	encoderAuto  = "auto"  // the camera, else an encoder of the board, else we
	encoderBoard = "board" // the board, even if the camera could, else we
	encoderOwn   = "own"   // we, even if the camera could
)

// A controlSetting is a value to set a control of the camera to, as it was given.
type controlSetting struct {
	name, value string // "brightness", "128"
	byViewer    bool   // set by a viewer: another camera that comes need not have it
}

func (s controlSetting) String() string { return s.name + "=" + s.value }

// device returns the device that is wanted, or "" when any will do.
func (s settings) device() string {
	if strings.HasPrefix(s.camera, "/") {
		return s.camera
	}
	return ""
}

// driver returns the name of the driver that is wanted, or "auto", and which one of its
// cameras, or "" for the first.
func (s settings) driver() (name, which string) {
	switch {
	case s.device() != "":
		return "auto", ""
	case s.isURL():
		return "http", ""
	}
	name, which, _ = strings.Cut(s.camera, ":")
	return name, which
}

// A driver finds and opens cameras of a kind. Each camera file registers one; a build that
// cannot have the camera does not have its file.
type driver struct {
	name    string
	choice  string        // what -camera is for it, if not its name
	several bool          // -camera name:1 means one of several cameras
	rank    int           // lower goes first
	settle  time.Duration // until the exposure is right after opening

	// find lists the devices to try, the likeliest first, or says why there are none. If
	// it is nil, open is called with the device that is wanted.
	find func(want settings) (devices []string, err error)

	// open opens the camera that device names, or with "" the first one. An error that
	// matches fs.ErrNotExist says that there is none.
	open func(device string, want settings) (camera, error)

	// devices lists the devices that may be cameras of this driver. The search starts
	// again when the list changes. It is nil for a driver without devices, which is no
	// real camera.
	devices func() []string

	// hasTwin reports whether there is another camera with the same name; nil if
	// cameras of this driver cannot be confused.
	hasTwin func(info cameraInfo) bool
}

// register adds a driver to this build. The init functions of camera files call it.
func register(d driver) {
	thisHost.drivers = append(thisHost.drivers, d)
	sortByRank(thisHost.drivers)
}

// sortByRank sorts drivers. Package slices would add 8 KB to the program for each type.
func sortByRank(drivers []driver) {
	sort.SliceStable(drivers, func(i, j int) bool { return drivers[i].rank < drivers[j].rank })
}

// notFoundError is an error that says that there is no such camera: it matches
// fs.ErrNotExist.
type notFoundError string

func (e notFoundError) Error() string        { return string(e) }
func (e notFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// absentError is a notFoundError of a board that has a place for a camera. It says what to do
// if there is one all the same.
type absentError string

func (e absentError) Error() string        { return string(e) }
func (e absentError) Is(target error) bool { return target == fs.ErrNotExist }

// isAdvice reports whether an error says more than that there is no such camera.
func isAdvice(err error) bool {
	var absent absentError
	return !errors.Is(err, fs.ErrNotExist) || errors.As(err, &absent)
}

const errNoCamera = notFoundError("no camera found: is it plugged in, and its kernel driver loaded?")

// noPictureError is an error of a device that has never given a picture, or has none that
// could be shown. It may be no camera.
type noPictureError string

func (e noPictureError) Error() string { return string(e) }

// advisedError is an error with a text for the person at the board in place of its
// own. It is about a camera that is there: the text says what to do.
type advisedError struct {
	text string
	err  error // may be nil
}

func (e *advisedError) Error() string { return e.text }
func (e *advisedError) Unwrap() error { return e.err }

// maybeNoCamera reports whether err, of opening a device or of its first picture,
// leaves open whether the device is a camera at all. Errors of system calls do:
// many boards have nodes that look like cameras, and fail in all kinds of ways.
func maybeNoCamera(err error) bool {
	var withAdvice *advisedError
	var none noPictureError
	var call *os.SyscallError
	return !errors.As(err, &withAdvice) &&
		(errors.Is(err, fs.ErrNotExist) || errors.As(err, &none) || errors.As(err, &call))
}

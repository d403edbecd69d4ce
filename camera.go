package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// A camera is one open device. It is used by one goroutine at a time.
type camera interface {
	// Capture appends the next picture to dst as one complete JPEG, and
	// returns the result with the time at which it was captured.
	// errDamaged means that a picture came and was no good; any other error
	// that the camera has to be opened anew.
	Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error)

	// Info tells what camera this is and what it granted.
	Info() cameraInfo

	// Close undoes all that opening it did.
	Close() error
}

// cameraInfo describes an open camera, for the log, the page and /state.
type cameraInfo struct {
	Name   string  `json:"camera"`      // its own name: "HD Webcam"
	Driver string  `json:"driver"`      // the kernel's name for that: "uvcvideo"
	Device string  `json:"device"`      // "/dev/video0", or "" without one
	Format string  `json:"format"`      // as it comes from the camera: "MJPG"
	Width  int     `json:"width"`       // pixels
	Height int     `json:"height"`      // pixels
	FPS    float64 `json:"fps_granted"` // frames per second; 0: not known
}

func (i cameraInfo) String() string {
	text := i.Name
	if i.Device != "" {
		text = fmt.Sprintf("%s (%s, %s)", i.Device, i.Name, i.Driver)
	}
	text += fmt.Sprintf(": %dx%d %s", i.Width, i.Height, i.Format)
	if i.FPS > 0 {
		text += fmt.Sprintf(" at %.4g fps", i.FPS)
	}
	return text
}

// settings are what was asked of the camera.
type settings struct {
	camera        string  // "auto", a driver's name, or a device: "/dev/video0"
	width, height int     // pixels
	fps           float64 // frames per second; 0: the driver's choice
	quality       int     // of JPEGs that we encode, 1 to 100
	set           []controlSetting

	last cameraInfo // of the camera that was open last: it is to be this one again
}

// A controlSetting is what a control of the camera is to be, as it was given.
type controlSetting struct {
	name, value string // "brightness", "128"
}

func (s controlSetting) String() string { return s.name + "=" + s.value }

// device returns the device that is wanted, or "" when any will do.
func (s settings) device() string {
	if strings.HasPrefix(s.camera, "/") {
		return s.camera
	}
	return ""
}

// A driver is a way to get at cameras. Each camera file registers one; a build
// that cannot have the camera does not have its file.
type driver struct {
	name   string
	rank   int           // lower goes first
	settle time.Duration // until the exposure is right after opening

	// open opens the camera that device names, or with "" the first there
	// is. An error that matches fs.ErrNotExist says that there is none.
	open func(device string, want settings) (camera, error)

	// devices lists the devices that may be cameras of this driver; nil for
	// a driver without devices.
	devices func() []string
}

var drivers []driver

func register(d driver) {
	drivers = append(drivers, d)
	slices.SortFunc(drivers, func(a, b driver) int { return cmp.Compare(a.rank, b.rank) })
}

// notThere is an error that says that there is no such camera: it matches
// fs.ErrNotExist.
type notThere string

func (e notThere) Error() string        { return string(e) }
func (e notThere) Is(target error) bool { return target == fs.ErrNotExist }

// allDevices lists the devices that may be cameras.
func allDevices() []string {
	var all []string
	for _, d := range drivers {
		if d.devices != nil {
			all = append(all, d.devices()...)
		}
	}
	return all
}

// errDamaged is a picture that came and was no good.
var errDamaged = errors.New("damaged picture")

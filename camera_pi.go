//go:build linux && (arm || arm64)

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The camera at the flat cable of a Raspberry Pi sends raw sensor data, which
// libcamera makes pictures of. That is C++, so we let its program do it and
// read what it writes. The second name is the one it had until 2023. See
// www.raspberrypi.com/documentation/computers/camera_software.html.
var piPrograms = []string{"rpicam-vid", "libcamera-vid"}

// piSystem is where sysfs is. Tests put a file tree of their own there.
var piSystem = "/sys"

// piRefused is set when libcamera said that it knows no camera here. It does
// not learn of one later: sensors are found when the system starts. Only used
// by the goroutine that opens cameras.
var piRefused bool

func init() {
	// It needs no time to settle: libcamera holds back the first pictures
	// until the exposure is right.
	register(driver{name: "pi", rank: 10, open: openPi, devices: piSensors})
}

// isPi reports whether this is a Raspberry Pi.
func isPi() bool {
	model, _ := os.ReadFile(filepath.Join(piSystem, "firmware/devicetree/base/model"))
	return strings.HasPrefix(string(model), "Raspberry Pi")
}

// piSensors lists the sensors that the kernel has found, like "imx219 10-0010":
// a chip, and its bus and address there. The receiver's driver gives names to
// its parts only when the sensor has answered, so nothing need be started to
// find out whether there is one. The video nodes tell less: they are named
// after the receiver, and differently on each kind of Pi.
func piSensors() []string {
	var sensors []string
	files, _ := filepath.Glob(filepath.Join(piSystem, "class/video4linux/v4l-subdev*/name"))
	for _, file := range files {
		name, _ := os.ReadFile(file)
		var chip string
		var bus, address int
		if n, _ := fmt.Sscanf(string(name), "%s %d-%x", &chip, &bus, &address); n == 3 {
			sensors = append(sensors, strings.TrimSpace(string(name)))
		}
	}
	return sensors
}

// piProgram returns the path of the program that is installed, or "".
func piProgram() string {
	for _, name := range piPrograms {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// openPi opens the camera at the flat cable. Without -camera pi it is careful
// to say that there is none rather than to get in the way of another camera.
func openPi(device string, want settings) (camera, error) {
	if device != "" {
		return nil, notThere(device + ": no camera of this driver")
	}
	sensors := piSensors()
	if want.camera != "pi" && (piRefused || len(sensors) == 0 || !isPi()) {
		return nil, notThere("no camera found at the flat cable of a Raspberry Pi")
	}
	program := piProgram()
	if program == "" {
		return nil, notThere("the camera at the flat cable needs " + piPrograms[0] + ": sudo apt install rpicam-apps")
	}
	if len(want.set) > 0 {
		return nil, fmt.Errorf("-set %v: %s has no controls that can be set", want.set[0], filepath.Base(program))
	}
	name := "Raspberry Pi camera"
	if len(sensors) > 0 {
		chip, _, _ := strings.Cut(sensors[0], " ")
		name += " " + chip
	}
	return newPiCamera(program, name, want), nil
}

// piCamera is the program of libcamera.
type piCamera struct {
	pipeCamera
}

// newPiCamera makes the camera that program gives us.
func newPiCamera(program, name string, want settings) camera {
	fps := cmp.Or(want.fps, 30)
	width, height := want.width&^1, want.height&^1 // its pictures are YUV420
	return &piCamera{pipeCamera{
		argv: []string{program,
			"-t", "0", // for ever
			"-n",          // shown nowhere else
			"--verbose=0", // or else it reports every frame
			"--codec", "mjpeg",
			"-q", strconv.Itoa(want.quality),
			"--width", strconv.Itoa(width),
			"--height", strconv.Itoa(height),
			"--framerate", strconv.FormatFloat(fps, 'f', -1, 64),
			"--flush", // each frame when it is done
			"-o", "-", // to standard output
		},
		info: cameraInfo{
			Name:   name,
			Driver: filepath.Base(program),
			Format: "MJPG",
			Width:  width,
			Height: height,
		},
		stall: stallAfter(fps),
	}}
}

// Capture notes when libcamera does not know the camera: a chip that is no
// camera, or one too new for it.
func (c *piCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	dst, at, err := c.pipeCamera.Capture(ctx, dst)
	if err != nil && strings.Contains(err.Error(), "no cameras available") {
		piRefused = true
	}
	return dst, at, err
}

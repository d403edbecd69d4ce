//go:build linux && (arm || arm64)

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The camera at the flat cable of a Raspberry Pi sends raw sensor data. Systems
// up to Debian 10, and later ones that say so in config.txt, have the firmware
// make pictures of it, and a kernel driver for that: see openFirmware. On all
// others libcamera makes them. That is C++, so we let its program do it and
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
			sensors = append(sensors, printable(string(name)))
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

// openPi opens the camera at the flat cable, as the firmware's or as
// libcamera's: systems have one or the other. Without -camera pi it is careful
// to say that there is none rather than to get in the way of another camera.
func openPi(device string, want settings) (camera, error) {
	nodes := videoNodes()
	if device != "" {
		nodes = []string{device}
	}
	if cam, err := openFirmware(linux{}, nodes, want); !errors.Is(err, fs.ErrNotExist) {
		return cam, err
	}
	if device != "" {
		return nil, notFoundError(device + ": no camera of this driver")
	}
	sensors := piSensors()
	if want.camera != "pi" && (piRefused || len(sensors) == 0 || !isPi()) {
		return nil, notFoundError("no camera found at the flat cable of a Raspberry Pi")
	}
	program := piProgram()
	if program == "" {
		return nil, notFoundError("the camera at the flat cable needs " + piPrograms[0] + ": sudo apt install rpicam-apps")
	}
	turn, err := piTurn(want.set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	name := "Raspberry Pi camera"
	if len(sensors) > 0 {
		chip, _, _ := strings.Cut(sensors[0], " ")
		name += " " + chip
	}
	return newPiCamera(program, name, want, turn), nil
}

// What the firmware encodes: as MJPG video of up to maxVideo, or as single JPEGs
// of any size, but then not many a second.
var (
	firmwareVideo  = []string{"MJPG"}
	firmwareStills = []string{"JPEG"}
)

const (
	maxVideo = 1920 * 1080 // pixels

	// Limits of its control video_bitrate, in bits per second.
	minBitrate  = 25_000
	maxBitrate  = 25_000_000
	bitrateStep = 25_000
)

// openFirmware opens the first of the nodes that is the firmware's camera.
func openFirmware(k kernel, nodes []string, want settings) (camera, error) {
	for _, path := range nodes {
		if caps := nodeCaps(k, path); caps.driverName() != firmwareDriver {
			continue
		}
		if want.width*want.height > maxVideo {
			want.set = slices.Concat(stillSettings(want), want.set)
			return openNodeAs(k, path, want, firmwareStills)
		}
		want.set = slices.Concat(videoSettings(want), want.set)
		return openNodeAs(k, path, want, firmwareVideo)
	}
	return nil, notFoundError("no camera of the driver " + firmwareDriver)
}

// videoSettings have the firmware send as many bits with each picture, one per
// pixel at quality 80. It would send 10 Mbit/s otherwise, which is a lot for a
// small picture and looks blocky in a large one, and fewer in between.
func videoSettings(want settings) []controlSetting {
	bits := float64(want.width*want.height) * cmp.Or(want.fps, 30) * float64(want.quality) / 80
	rate := min(max(int(bits)/bitrateStep*bitrateStep, minBitrate), maxBitrate)
	return []controlSetting{
		{"video_bitrate_mode", "1", false}, // constant (V4L2_MPEG_VIDEO_BITRATE_MODE_CBR)
		{"video_bitrate", strconv.Itoa(rate), false},
	}
}

func stillSettings(want settings) []controlSetting {
	return []controlSetting{{"compression_quality", strconv.Itoa(want.quality), false}}
}

// piCamera is the program of libcamera.
type piCamera struct {
	pipeCamera
}

// piTurn returns the arguments of rpicam-vid that turn the picture. These are
// the controls that the firmware's camera has, too.
func piTurn(set []controlSetting) (args []string, err error) {
	for _, s := range set {
		switch controlName(s.name) + "=" + s.value {
		case "rotate=0", "horizontal_flip=0", "horizontal_flip=off", "vertical_flip=0", "vertical_flip=off":
		case "rotate=180":
			args = append(args, "--rotation", "180")
		case "horizontal_flip=1", "horizontal_flip=on":
			args = append(args, "--hflip")
		case "vertical_flip=1", "vertical_flip=on":
			args = append(args, "--vflip")
		default:
			return nil, fmt.Errorf("-set %v: must be rotate=180, horizontal_flip=on or vertical_flip=on", s)
		}
	}
	return args, nil
}

// newPiCamera makes the camera that program gives us.
func newPiCamera(program, name string, want settings, turn []string) camera {
	fps := cmp.Or(want.fps, 30)
	width, height := want.width&^1, want.height&^1 // its pictures are YUV420
	argv := []string{program,
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
	}
	return &piCamera{pipeCamera{
		argv: append(argv, turn...),
		info: cameraInfo{
			Name:   name,
			Driver: filepath.Base(program),
			Format: "MJPG",
			Width:  width,
			Height: height,
		},
		stall: stallAfter(interval(fps)),
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

func (c *piCamera) choices() choices {
	return choices{Encodes: true, check: c.setControls}
}

func (c *piCamera) setControls(set []controlSetting) error {
	if len(set) > 0 {
		return fmt.Errorf("%v: %s has no controls that can be set while it runs", set[0], c.info.Driver)
	}
	return nil
}

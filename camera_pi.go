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

	"porthole/v4l2"
)

// The camera at the flat cable of a Raspberry Pi sends raw sensor data. On systems up to
// Debian 10, and on later ones that ask for it in config.txt, the firmware makes pictures
// of it, and a kernel driver gives us those: see openFirmware. On all others libcamera
// does. That is C++, so we run its program and read what it writes. The program got its
// first name in 2023. See
// www.raspberrypi.com/documentation/computers/camera_software.html.
var piPrograms = []string{"rpicam-vid", "libcamera-vid"}

func init() { register(piDriver("/sys", v4l2.Linux{})) }

// piDriver returns the driver of the camera at the flat cable, with sysfs at a path. It
// needs no time to settle: libcamera holds back the first pictures until the exposure is
// right.
func piDriver(sysfs string, k v4l2.Kernel) driver {
	p := &pi{sysfs: sysfs, kernel: k}
	return driver{name: "pi", rank: 10, open: p.open, devices: p.sensors}
}

// A pi is a board that may be a Raspberry Pi. Its methods are called by the goroutine
// that opens cameras.
type pi struct {
	sysfs  string // path
	kernel v4l2.Kernel

	// unsupported says that libcamera knows no camera here. It does not learn of one
	// later: the kernel looks for sensors when the system starts.
	unsupported bool
}

// isRaspberry reports whether this is a Raspberry Pi.
func (p *pi) isRaspberry() bool {
	model, _ := os.ReadFile(filepath.Join(p.sysfs, "firmware/devicetree/base/model"))
	return strings.HasPrefix(string(model), "Raspberry Pi")
}

// sensors lists the sensors that the kernel has found, like "imx219 10-0010": a chip, and
// its bus and address there. The receiver's driver names its parts only after the sensor
// has answered, so nothing need be started to find out whether there is one. The video
// nodes tell less: they are named after the receiver, and differently on each kind of Pi.
func (p *pi) sensors() []string {
	var sensors []string
	files, _ := filepath.Glob(filepath.Join(p.sysfs, "class/video4linux/v4l-subdev*/name"))
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

// open opens the camera at the flat cable, as the firmware's or as libcamera's: a system
// has one or the other. Without -camera pi it must not get in the way of another camera,
// so in doubt it says that there is none.
func (p *pi) open(device string, want settings) (camera, error) {
	nodes := v4l2.Nodes(p.kernel)
	if device != "" {
		nodes = []string{device}
	}
	if cam, err := openFirmware(p.kernel, nodes, want); !errors.Is(err, fs.ErrNotExist) {
		return cam, err
	}
	if device != "" {
		return nil, notFoundError(device + ": no camera of this driver")
	}
	sensors := p.sensors()
	if want.camera != "pi" && (p.unsupported || len(sensors) == 0 || !p.isRaspberry()) {
		return nil, notFoundError("no camera found at the flat cable of a Raspberry Pi")
	}
	program := piProgram()
	if program == "" {
		return nil, notFoundError("the camera at the flat cable needs " + piPrograms[0] + ": sudo apt install rpicam-apps")
	}
	turn, err := turnArgs(want.set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	name := "Raspberry Pi camera"
	if len(sensors) > 0 {
		chip, _, _ := strings.Cut(sensors[0], " ")
		name += " " + chip
	}
	return newPiCamera(p, program, name, want, turn), nil
}

// The firmware encodes MJPG video of up to maxVideo, and single JPEGs of any size, but
// not many of these a second.
var (
	firmwareVideo  = fourCCs("MJPG")
	firmwareStills = fourCCs("JPEG")
)

const (
	maxVideo = 1920 * 1080 // pixels

	// Limits of its control video_bitrate, in bits per second.
	minBitrate  = 25_000
	maxBitrate  = 25_000_000
	bitrateStep = 25_000
)

// openFirmware opens the first of the nodes that is the firmware's camera.
func openFirmware(k v4l2.Kernel, nodes []string, want settings) (camera, error) {
	i := slices.IndexFunc(nodes, func(path string) bool {
		caps, _ := v4l2.QueryCap(k, path)
		return caps.Driver == firmwareDriver
	})
	if i < 0 {
		return nil, notFoundError("no camera of the driver " + firmwareDriver)
	}
	formats := firmwareVideo
	if want.width*want.height > maxVideo {
		formats = firmwareStills
		want.set = slices.Concat(stillSettings(want), want.set)
	} else {
		want.set = slices.Concat(videoSettings(want), want.set)
	}
	return openV4L2(k, nodes[i], want, formats)
}

// videoSettings ask the firmware for a fixed number of bits per picture: one per pixel at
// quality 80. By default it sends 10 Mbit/s, which is a lot for a small picture and looks
// blocky in a large one.
func videoSettings(want settings) []controlSetting {
	fps := cmp.Or(want.fps, 30)
	if fps < slowRate {
		fps = startRate // as it runs
	}
	bits := float64(want.width*want.height) * fps * float64(want.quality) / 80
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
	board *pi
}

// turnArgs returns the arguments of rpicam-vid that turn the picture as some controls of
// the firmware's camera do.
func turnArgs(set []controlSetting) (args []string, err error) {
	for _, s := range set {
		switch v4l2.ControlName(s.name) + "=" + s.value {
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

// newPiCamera returns the camera that a program reads for us.
func newPiCamera(board *pi, program, name string, want settings, turn []string) camera {
	fps := max(cmp.Or(want.fps, 30), slowRate)
	width, height := want.width&^1, want.height&^1 // its pictures are YUV420
	argv := []string{program,
		"-t", "0", // for ever
		"-n",          // without a preview
		"--verbose=0", // by default it reports every frame
		"--codec", "mjpeg",
		"-q", strconv.Itoa(want.quality),
		"--width", strconv.Itoa(width),
		"--height", strconv.Itoa(height),
		"--framerate", strconv.FormatFloat(fps, 'f', -1, 64),
		"--flush", // each frame when it is done
		"-o", "-", // to standard output
	}
	return &piCamera{board: board, pipeCamera: pipeCamera{
		argv: append(argv, turn...),
		info: cameraInfo{
			Name:   name,
			Driver: filepath.Base(program),
			Format: "MJPG",
			Width:  width,
			Height: height,
		},
		stall:  stallAfter(interval(fps)),
		faster: fps > cmp.Or(want.fps, fps),
	}}
}

// Capture notes if libcamera does not know the camera: the chip is no camera, or too new
// for it.
func (c *piCamera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	dst, at, err := c.pipeCamera.Capture(ctx, dst)
	if err != nil && strings.Contains(err.Error(), "no cameras available") {
		c.board.unsupported = true
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

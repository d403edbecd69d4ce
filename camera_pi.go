//go:build linux && (arm || arm64)

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"

	"porthole/v4l2"
)

// The camera at the flat cable of a Raspberry Pi sends raw sensor data. On systems up to
// Debian 10, and on later ones that ask for it in config.txt, the firmware makes pictures
// of it, and a kernel driver gives us those: see openFirmware. On all others libcamera
// does: see openRpicam.

func init() {
	register(piDriver(&pi{
		sysfs: "/sys", kernel: v4l2.Linux{}, caches: cacheDirs(), memory: machineMemory(),
		simd: cpu.ARM.HasNEON || cpu.ARM64.HasASIMD,
	}))
}

// piDriver returns the driver of the camera at the flat cable of a board. Some versions of
// libcamera hold back the first pictures until the exposure is right, and others do not.
func piDriver(p *pi) driver {
	return driver{name: "pi", several: true, rank: 10, settle: settleV4L2, open: p.open, devices: p.sensors}
}

// A pi is a board that may be a Raspberry Pi. Its methods are called by the goroutine
// that opens cameras.
type pi struct {
	sysfs  string // path
	kernel v4l2.Kernel
	caches []string // directories that keep what the program has answered
	memory uint64   // of the board, in bytes; 0: not known
	simd   bool     // the processor has what makes libjpeg-turbo fast

	program *piProgram // that was used last

	// padded says that the program's raw pictures are of no use: see errPadded.
	padded bool

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

// open opens the camera at the flat cable, as the firmware's or as libcamera's: a system
// has one or the other. Without -camera pi it must not get in the way of another camera,
// so in doubt it says that there is none.
func (p *pi) open(device string, want settings) (camera, error) {
	nodes := v4l2.Nodes(p.kernel)
	if device != "" {
		nodes = []string{device}
	}
	name, which := want.driver()
	if which == "" {
		if cam, err := openFirmware(p.kernel, nodes, want); !errors.Is(err, fs.ErrNotExist) {
			return cam, err
		}
	}
	if device != "" {
		return nil, notFoundError(device + ": no camera of this driver")
	}
	sensors := p.sensors()
	if name != "pi" && !p.isRaspberry() {
		return nil, notFoundError("no camera found at the flat cable of a Raspberry Pi")
	}
	if name != "pi" && (p.unsupported || len(sensors) == 0) {
		return nil, absentError(noAnswer)
	}
	program := findProgram()
	if program == "" {
		return nil, absentError("the camera at the flat cable needs " + piPrograms[0] + ": sudo apt install rpicam-apps")
	}
	if _, err := p.ask(program, sensors).choose(which); err != nil && p.program.kept {
		p.forget() // there may be other cameras by now
	}
	return openRpicam(p, p.ask(program, sensors), firstChip(sensors), want)
}

// lensChips are how the names of chips begin that move a lens. They are listed as sensors are.
var lensChips = []string{"dw9", "ak7", "ad5"}

// firstChip returns the chip of the first sensor, or "".
func firstChip(sensors []string) string {
	for _, sensor := range sensors {
		chip, _, _ := strings.Cut(sensor, " ")
		if !slices.ContainsFunc(lensChips, func(lens string) bool { return strings.HasPrefix(chip, lens) }) {
			return chip
		}
	}
	return ""
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

// videoSettings ask the firmware for a fixed number of bits per picture. By default it sends
// 10 Mbit/s, which is a lot for a small picture and looks blocky in a large one.
func videoSettings(want settings) []controlSetting {
	fps := cmp.Or(want.fps, 30)
	if fps < slowRate {
		fps = startRate // as it runs
	}
	bits := float64(want.width*want.height) * fps * v4l2.BitsPerPixel(want.quality)
	rate := min(max(int(bits)/bitrateStep*bitrateStep, minBitrate), maxBitrate)
	return []controlSetting{
		{"video_bitrate_mode", "1", false}, // constant (V4L2_MPEG_VIDEO_BITRATE_MODE_CBR)
		{"video_bitrate", strconv.Itoa(rate), false},
	}
}

func stillSettings(want settings) []controlSetting {
	return []controlSetting{{"compression_quality", strconv.Itoa(want.quality), false}}
}

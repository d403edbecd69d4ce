//go:build linux && (arm || arm64)

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// libcamera is C++, so we run its program for the camera at the flat cable of a Raspberry Pi
// and read what it writes. The program got its first name in 2023. See
// www.raspberrypi.com/documentation/computers/camera_software.html.
var piPrograms = []string{"rpicam-vid", "libcamera-vid"}

const (
	// askTimeout is how long the program may take to list what it has. It takes a Zero a few
	// seconds, which it mostly loads its libraries.
	askTimeout = 10 * time.Second

	// maxAnswer is more than the program has to list, in bytes.
	maxAnswer = 64 << 10

	// answerFile is where the answers are kept, in a directory for such things.
	answerFile = "rpicam-vid.json"
)

// A piProgram is rpicam-vid, and what it answered when it was asked what it has. It is asked
// once, as long as it is the same file and the kernel has the same sensors.
type piProgram struct {
	Key     string   // what the answers are about
	Sensors string   // --list-cameras; "": it does not tell
	Options []string // that it knows, by --help; none: not known
	Unknown []string // options that it complained about

	path string
	kept bool // the answers are those of an earlier start
}

// findProgram returns the path of the program that is installed, or "".
func findProgram() string {
	for _, name := range piPrograms {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// ask returns what is known of the program at a path. The first time, the program is asked.
// That takes seconds on a Zero, so it is kept for the next start where there is a disk to
// write to.
func (p *pi) ask(path string, sensors []string) *piProgram {
	key := programKey(path, sensors)
	if p.program != nil && p.program.Key == key {
		return p.program
	}
	p.program = &piProgram{path: path}
	for _, dir := range p.caches {
		text, _ := os.ReadFile(filepath.Join(dir, answerFile))
		if json.Unmarshal(text, p.program) == nil && p.program.Key == key {
			p.program.kept = true
			return p.program
		}
		*p.program = piProgram{path: path}
	}
	p.program.Key = key
	if p.program.Sensors = answer(path, "--list-cameras"); p.program.Sensors != "" {
		p.program.Options = findOptions(answer(path, "--help"))
	}
	p.keep()
	return p.program
}

// programKey tells programs apart, and the sensors that they find.
func programKey(path string, sensors []string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	return fmt.Sprintf("%s %d %d %q", path, info.Size(), info.ModTime().UnixNano(), sensors)
}

// answer returns what the program prints when it is asked for something, or "".
func answer(path, question string) string {
	c, err := startChild([]string{path, question}, func(string) {})
	if err != nil {
		return ""
	}
	defer c.out.Close()
	defer c.stop(0)
	c.out.SetReadDeadline(time.Now().Add(askTimeout))
	text, err := io.ReadAll(io.LimitReader(c.out, maxAnswer))
	if err != nil || len(text) == maxAnswer {
		return ""
	}
	return string(text)
}

// findOptions lists the options in a help text. It lists none if that is not one.
func findOptions(help string) (options []string) {
	for _, word := range strings.Fields(help) {
		if strings.HasPrefix(word, "--") {
			options = append(options, word)
		}
	}
	if !slices.Contains(options, "--framerate") {
		return nil
	}
	return options
}

// keep writes the answers to the first directory that takes them. They are not kept if there is
// no camera yet, or another program has it: then all modes have the same limits.
func (p *pi) keep() {
	if !p.program.listsCameras() || strings.Contains(p.program.Sensors, "65535x65535") {
		return
	}
	text, _ := json.Marshal(p.program)
	for _, dir := range p.caches {
		if os.MkdirAll(dir, 0o755) != nil {
			continue
		}
		// A file that is renamed is there as a whole, or not at all.
		path := filepath.Join(dir, answerFile)
		if os.WriteFile(path+".new", text, 0o644) == nil && os.Rename(path+".new", path) == nil {
			return
		}
	}
}

// forget makes the next opening ask again, unless the answer was that there is no camera.
func (p *pi) forget() {
	if p.program == nil || !p.program.listsCameras() {
		return
	}
	p.program = nil
	for _, dir := range p.caches {
		os.Remove(filepath.Join(dir, answerFile))
	}
}

// cacheDirs lists the directories that may keep answers: the one that systemd gives to a
// service, and those of the user and of the system.
func cacheDirs() (dirs []string) {
	if dir := os.Getenv("CACHE_DIRECTORY"); dir != "" {
		dirs = append(dirs, dir)
	}
	if dir, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "porthole"))
	}
	return append(dirs, "/var/cache/porthole")
}

// knows reports whether the program may have an option, as far as is known. All versions have
// those of one letter.
func (r *piProgram) knows(option string) bool {
	option, _, _ = strings.Cut(option, "=")
	if slices.Contains(r.Unknown, option) {
		return false
	}
	return !strings.HasPrefix(option, "--") || len(r.Options) == 0 || slices.Contains(r.Options, option)
}

// sensors lists the cameras that the program has; none if that is not known.
func (r *piProgram) sensors() []piSensor { return parseSensors(r.Sensors) }

// listsCameras reports whether the program has listed a camera.
func (r *piProgram) listsCameras() bool { return len(r.sensors()) > 0 }

// choose returns the camera that -camera pi:which means. Without which that is the first.
func (r *piProgram) choose(which string) (piSensor, error) {
	sensors := r.sensors()
	var index int
	n, _ := fmt.Sscanf(which+" ", "%d ", &index)
	isNumber := n == 1 && fmt.Sprint(index) == which
	means := func(s piSensor) bool { return s.name == which || isNumber && s.index == index || which == "" }
	begins := func(s piSensor) bool { return !isNumber && strings.HasPrefix(s.name, which) } // imx708_wide
	i := slices.IndexFunc(sensors, means)
	if i < 0 {
		i = slices.IndexFunc(sensors, begins)
	}
	switch {
	case i >= 0:
		return sensors[i], nil
	case len(sensors) > 0:
		return piSensor{}, fmt.Errorf("-camera pi:%s: must be one of %s", which, listSensors(sensors))
	case which == "" || isNumber:
		return piSensor{index: index}, nil
	}
	return piSensor{}, fmt.Errorf("-camera pi:%s: %s does not list its cameras: give a number, like pi:0", which, filepath.Base(r.path))
}

// listSensors names cameras as -camera takes them.
func listSensors(sensors []piSensor) string {
	var names []string
	for _, s := range sensors {
		names = append(names, fmt.Sprintf("pi:%d (%s)", s.index, cmp.Or(s.name, "unknown")))
	}
	return strings.Join(names, ", ")
}

package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// environment is what there is around the program: see its description.
type environment struct {
	version    version
	models     []string
	listTime   time.Duration
	startTime  time.Duration
	settle     int // frames
	recordFile string
	lockFile   string
	fault      string
	faultCount int // the number behind it
}

func newEnvironment(get func(string) string) (*environment, error) {
	e := &environment{version: newest, recordFile: get("RPICAM_RECORD"), lockFile: get("RPICAM_LOCK")}
	var err error
	if text := get("RPICAM_VERSION"); text != "" {
		if e.version, err = parseVersion(text); err != nil {
			return nil, err
		}
	}
	if text := get("RPICAM_CAMERAS"); text != "" {
		e.models = strings.Split(text, ",")
	}
	for name, d := range map[string]*time.Duration{"RPICAM_LIST": &e.listTime, "RPICAM_START": &e.startTime} {
		if text := get(name); text != "" {
			if *d, err = time.ParseDuration(text); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if text := get("RPICAM_SETTLE"); text != "" {
		if e.settle, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("RPICAM_SETTLE: %w", err)
		}
	}
	return e, e.setFault(get("RPICAM_FAIL"))
}

// setFault takes what goes wrong, and the number behind it.
func (e *environment) setFault(text string) (err error) {
	name, count, hasCount := strings.Cut(text, " ")
	switch name {
	case "", "busy", "legacy", "nomemory", "stall", "die-after", "torn", "padded":
		e.fault = name
	default:
		return fmt.Errorf("RPICAM_FAIL: no such fault: %q", text)
	}
	if hasCount || name == "die-after" || name == "torn" {
		if e.faultCount, err = strconv.Atoi(count); err != nil {
			return fmt.Errorf("RPICAM_FAIL: %w", err)
		}
	}
	return nil
}

// lock takes the camera into use until the end of the process, and reports whether nobody
// else has it.
func (e *environment) lock() bool {
	if e.lockFile == "" {
		return true
	}
	fd, err := syscall.Open(e.lockFile, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	exitOn(err)
	return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

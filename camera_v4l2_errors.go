//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// advise says which device an error is about, and what to do. The same number
// means something else when it is the answer to a single request, about a control
// say: then it is told as it is.
func advise(path string, err error) error {
	advice := ""
	switch call := systemCall(err); {
	case errors.Is(err, unix.ENODEV):
		advice = "the camera is gone: was it unplugged?"
	case errors.Is(err, unix.EBUSY) && slices.Contains(exclusiveCalls, call):
		advice = "in use by another program"
	case errors.Is(err, unix.ENOSPC) && call == "ioctl(VIDIOC_STREAMON)":
		advice = "not enough USB bandwidth: try a smaller -size, or one camera fewer on this port"
	case errors.Is(err, unix.EPIPE) && call == "ioctl(VIDIOC_STREAMON)":
		return fmt.Errorf("%s: nothing is connected to this receiver, or its pipeline is not set up (media-ctl): %w", path, err)
	case call != "":
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		advice = "permission denied: run as root or add this user to the group video"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO):
		return notFoundError(path + ": no such device: is it plugged in?")
	}
	if withAdvice := (*advisedError)(nil); advice == "" && errors.As(err, &withAdvice) {
		advice = withAdvice.text
	}
	if advice == "" {
		return fmt.Errorf("%s: %w", path, err)
	}
	return &advisedError{path + ": " + advice, err}
}

// exclusiveCalls are those that another program which has the camera keeps from
// succeeding; "" is opening it.
var exclusiveCalls = []string{"", "ioctl(VIDIOC_S_FMT)", "ioctl(VIDIOC_REQBUFS)", "ioctl(VIDIOC_STREAMON)"}

// systemCall names the call that an error is of; "" for opening the node.
func systemCall(err error) string {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Syscall
	}
	return ""
}

//go:build linux

package main

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// requestBuffers is VIDIOC_REQBUFS of include/uapi/linux/videodev2.h. Whoever
// has buffers has the queue: all others get EBUSY.
const requestBuffers = 3<<30 | 20<<16 | 'V'<<8 | 8

// hold takes a video node into use as soon as it is there, and keeps it.
func hold(path string) error {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK, 0)
		if err == nil {
			request := [5]uint32{1, 1, 1} // a buffer, VIDEO_CAPTURE, MMAP
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), requestBuffers, uintptr(unsafe.Pointer(&request)))
			if errno != 0 {
				return os.NewSyscallError("ioctl(VIDIOC_REQBUFS)", errno)
			}
			return unix.Pause() // until a signal ends it
		}
		if err != unix.ENOENT {
			return &os.PathError{Op: "open", Path: path, Err: err}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

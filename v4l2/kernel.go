//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A Kernel makes the system calls of this package. [Linux] is the kernel that runs;
// package v4l2test has one for tests.
type Kernel interface {
	// Open opens a device for reading and writing, without waiting.
	Open(path string) (fd int, err error)
	Close(fd int) error

	// Ioctl makes a request. Its argument is an unsafe.Pointer down to the system call:
	// a uintptr would not keep alive what it points to.
	Ioctl(fd int, request uintptr, arg unsafe.Pointer) error

	// Topology makes MEDIA_IOC_G_TOPOLOGY, whose argument has pointers in it.
	Topology(fd int) (*Topology, error)

	// Poll is poll(2). An interrupted one returns 0.
	Poll(fds []unix.PollFd, timeoutMillis int) (n int, err error)

	// Watch returns a Watcher of a device that is streaming. The Watcher's Close then
	// takes the place of Close.
	Watch(fd int) (Watcher, error)

	Mmap(fd int, offset int64, length int) ([]byte, error)
	Munmap(b []byte) error

	// Glob lists the paths that match a pattern of package path/filepath.
	Glob(pattern string) []string

	// DeviceNumber returns the numbers that a device node stands for (stat(2)).
	DeviceNumber(path string) (major, minor uint32, err error)
}

// A Watcher waits until a device has a picture.
type Watcher interface {
	// Wait calls try at once, and again whenever there may be a picture, until try is
	// true. After the deadline it returns os.ErrDeadlineExceeded.
	Wait(try func(fd uintptr) bool) error
	SetDeadline(t time.Time) error
	Close() error // closes the device
}

// Linux is the kernel that this program runs on. It repeats interrupted calls: Go
// interrupts its own threads.
type Linux struct{}

// Open does not use os.OpenFile, with which Go's poller would watch the device before it
// streams. With some drivers that starts the emulation of read(2), after which no format
// can be set.
func (Linux) Open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (Linux) Close(fd int) error {
	return unix.Close(fd)
}

// Ioctl returns a bare unix.EAGAIN, which allocates nothing: this is how an empty queue
// of buffers answers. Other errors name the request.
func (Linux) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		var errno unix.Errno
		if neverWaits(request) {
			_, _, errno = unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		} else {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		}
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			return unix.EAGAIN
		default:
			return os.NewSyscallError("ioctl("+uapi.RequestName(request)+")", errno)
		}
	}
}

// FailedCall returns the system call that an error is of, as in "ioctl(VIDIOC_S_FMT)" or
// "mmap"; "" for an error of Open, or of no system call.
func FailedCall(err error) string {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Syscall
	}
	return ""
}

// neverWaits reports whether a request never waits for the device: those that are made
// for each picture, to take a filled buffer and to give it back. Go's scheduler need not
// know of these calls. It would wake a thread that watches over them, 50 times a call,
// which takes a fifth of the time of a single core that sends pictures to 20 clients.
func neverWaits(request uintptr) bool {
	number := request & 0xff
	return number == uapi.VIDIOC_QBUF&0xff || number == uapi.VIDIOC_DQBUF&0xff
}

func (Linux) Poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	n, err := unix.Poll(fds, timeoutMillis)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, os.NewSyscallError("poll", err)
}

func (Linux) Mmap(fd int, offset int64, length int) ([]byte, error) {
	b, err := unix.Mmap(fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
}

func (Linux) Munmap(b []byte) error {
	return os.NewSyscallError("munmap", unix.Munmap(b))
}

func (Linux) Glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern) // the only error is a wrong pattern
	return paths
}

func (Linux) DeviceNumber(path string) (major, minor uint32, err error) {
	var stat unix.Stat_t
	err = unix.Stat(path, &stat)
	return unix.Major(uint64(stat.Rdev)), unix.Minor(uint64(stat.Rdev)), err
}

// Topology asks for the numbers first, and then for everything. The kernel writes
// through pointers that are numbers to Go, so a Pinner keeps their targets in place.
func (k Linux) Topology(fd int) (*Topology, error) {
	var t uapi.MediaTopology
	if err := k.Ioctl(fd, uapi.MEDIA_IOC_G_TOPOLOGY, unsafe.Pointer(&t)); err != nil {
		return nil, err
	}
	if max(t.Entities.Count, t.Interfaces.Count, t.Pads.Count, t.Links.Count) > maxMediaParts {
		return nil, errors.New("the topology is too large")
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	all := &Topology{
		Entities:   makeArray[uapi.MediaEntity](&t.Entities, &pin),
		Interfaces: makeArray[uapi.MediaInterface](&t.Interfaces, &pin),
		Pads:       makeArray[uapi.MediaPad](&t.Pads, &pin),
		Links:      makeArray[uapi.MediaLink](&t.Links, &pin),
	}
	return all, k.Ioctl(fd, uapi.MEDIA_IOC_G_TOPOLOGY, unsafe.Pointer(&t))
}

// maxMediaParts is more than any device has of each kind.
const maxMediaParts = 4096

// makeArray makes and pins an array for the parts that a counts, and puts its address
// into a. All systems that have this file are little-endian.
func makeArray[T any](a *uapi.MediaArray, pin *runtime.Pinner) []T {
	array := make([]T, max(a.Count, 1))
	pin.Pin(&array[0])
	address := uint64(uintptr(unsafe.Pointer(&array[0])))
	a.At = [2]uint32{uint32(address), uint32(address >> 32)}
	return array[:a.Count]
}

// Watch uses Go's poller.
func (Linux) Watch(fd int) (Watcher, error) {
	file := os.NewFile(uintptr(fd), "video")
	raw, err := file.SyscallConn()
	return polledFile{file, raw}, err
}

type polledFile struct {
	file *os.File
	raw  syscall.RawConn
}

func (p polledFile) Wait(try func(fd uintptr) bool) error { return p.raw.Read(try) }
func (p polledFile) SetDeadline(t time.Time) error        { return p.file.SetReadDeadline(t) }
func (p polledFile) Close() error                         { return p.file.Close() }

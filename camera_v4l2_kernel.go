//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kernel is the system calls that a video node needs: the real ones, or a
// test's.
type kernel interface {
	open(path string) (fd int, err error)
	close(fd int) error
	// ioctl's arg is an unsafe.Pointer down to the system call: a uintptr
	// would not keep what it points to alive.
	ioctl(fd int, request uintptr, arg unsafe.Pointer) error
	poll(fds []unix.PollFd, timeoutMillis int) (n int, err error)
	watch(fd int) (watcher, error)
	mmap(fd int, offset int64, length int) ([]byte, error)
	munmap(b []byte) error
	deviceNumber(path string) (major, minor uint32, ok bool)
	mediaDevices() []string
	topology(fd int, g *mediaGraph) error
}

// linux is the running kernel. Interrupted calls are made again: Go interrupts
// its own threads.
type linux struct{}

// open is not os.OpenFile: that would have Go's poller watch the node before
// it streams, which starts the read() emulation of some drivers, after which
// no format can be set.
func (linux) open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (linux) close(fd int) error {
	return unix.Close(fd)
}

func (linux) ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		var errno unix.Errno
		if isQuick(request) {
			_, _, errno = unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		} else {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		}
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			return unix.EAGAIN // no allocation: this is how a queue ends
		default:
			return os.NewSyscallError("ioctl("+requestNames[request]+")", errno)
		}
	}
}

// isQuick reports whether a request never waits for the camera: those that are
// made for each picture, to take a buffer that is filled and to give it back.
// Go's scheduler need not hear of these calls. It would wake a thread that
// watches over them, 50 times a call, which takes a fifth of the time of a
// single core that sends pictures to 20 clients.
func isQuick(request uintptr) bool {
	number := request & 0xff
	return number == vidiocQBuf&0xff || number == vidiocDQBuf&0xff
}

func (linux) poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	n, err := unix.Poll(fds, timeoutMillis)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, os.NewSyscallError("poll", err)
}

func (linux) mmap(fd int, offset int64, length int) ([]byte, error) {
	b, err := unix.Mmap(fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
}

func (linux) munmap(b []byte) error {
	return os.NewSyscallError("munmap", unix.Munmap(b))
}

func (linux) deviceNumber(path string) (major, minor uint32, ok bool) {
	var stat unix.Stat_t
	err := unix.Stat(path, &stat)
	return unix.Major(uint64(stat.Rdev)), unix.Minor(uint64(stat.Rdev)), err == nil
}

func (linux) mediaDevices() []string {
	devices, _ := filepath.Glob("/dev/media[0-9]*")
	return devices
}

// topology asks for the numbers first, and then for all. The kernel writes through
// pointers that are numbers to Go, so what they point to is kept in place.
func (k linux) topology(fd int, g *mediaGraph) error {
	var t mediaTopology
	if err := k.ioctl(fd, mediaIocGTopology, unsafe.Pointer(&t)); err != nil {
		return err
	}
	if max(t.entities.count, t.interfaces.count, t.pads.count, t.links.count) > maxMediaParts {
		return errors.New("too large")
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	g.entities = makeRoom[mediaEntity](&t.entities, &pin)
	g.interfaces = makeRoom[mediaInterface](&t.interfaces, &pin)
	g.pads = makeRoom[mediaPad](&t.pads, &pin)
	g.links = makeRoom[mediaLink](&t.links, &pin)
	return k.ioctl(fd, mediaIocGTopology, unsafe.Pointer(&t))
}

// makeRoom has room for what is in a.
func makeRoom[T any](a *mediaArray, pin *runtime.Pinner) []T {
	room := make([]T, max(a.count, 1))
	pin.Pin(&room[0])
	at := uint64(uintptr(unsafe.Pointer(&room[0])))
	a.at = [2]uint32{uint32(at), uint32(at >> 32)} // all systems that have this file are little-endian
	return room[:a.count]
}

// A watcher waits for a node that streams.
type watcher interface {
	// wait calls try whenever the node may have a picture, and at first, until
	// try is true. After the deadline it returns os.ErrDeadlineExceeded.
	wait(try func(fd uintptr) bool) error
	setDeadline(t time.Time) error
	close() error // of the node, too
}

// watch has Go's poller watch a node that streams already: no thread is blocked
// while the camera takes its time.
func (linux) watch(fd int) (watcher, error) {
	file := os.NewFile(uintptr(fd), "video")
	raw, err := file.SyscallConn()
	return watchedFile{file, raw}, err
}

type watchedFile struct {
	file *os.File
	raw  syscall.RawConn
}

func (w watchedFile) wait(try func(fd uintptr) bool) error { return w.raw.Read(try) }
func (w watchedFile) setDeadline(t time.Time) error        { return w.file.SetReadDeadline(t) }
func (w watchedFile) close() error                         { return w.file.Close() }

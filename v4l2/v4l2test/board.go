//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
)

var (
	_ v4l2.Kernel = (*Camera)(nil)
	_ v4l2.Kernel = (*Board)(nil)
)

// A Board is the kernel of a machine that has devices, each at one or more paths. Its zero
// value has none.
type Board struct {
	mu      sync.Mutex
	devices map[string]*Camera // by path
	opened  []*Camera          // by file descriptor
}

// NewBoard returns a board with devices, by path.
func NewBoard(devices map[string]*Camera) *Board {
	return &Board{devices: devices}
}

// Plug plugs in a device at a path. One that was unplugged has no buffers any more.
func (b *Board) Plug(path string, c *Camera) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.devices == nil {
		b.devices = map[string]*Camera{}
	}
	if c.unplugged.Swap(false) {
		c.mu.Lock()
		c.memory, c.Queued, c.streaming = nil, nil, false
		c.mu.Unlock()
	}
	b.devices[path] = c
}

// Unplug unplugs the device at a path, which then is gone from all its paths.
func (b *Board) Unplug(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.devices[path]
	gone.unplugged.Store(true)
	for path, c := range b.devices {
		if c == gone {
			delete(b.devices, path)
		}
	}
}

// CheckReleased reports an error if a program that has ended left something behind.
func (b *Board) CheckReleased(t *testing.T) {
	t.Helper()
	for _, c := range b.opened {
		c.CheckReleased(t)
	}
}

func (b *Board) Glob(pattern string) (paths []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for path := range b.devices {
		if match, _ := filepath.Match(pattern, path); match {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func (b *Board) Open(path string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.devices[path]
	if c == nil {
		return -1, unix.ENOENT
	}
	if _, err := c.Open(path); err != nil {
		return -1, err
	}
	b.opened = append(b.opened, c)
	return len(b.opened) - 1, nil
}

func (b *Board) at(fd int) *Camera {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened[fd]
}

func (b *Board) Close(fd int) error { return b.at(fd).Close(fd) }

func (b *Board) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	return b.at(fd).Ioctl(fd, request, arg)
}

func (b *Board) Poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	return b.at(int(fds[0].Fd)).Poll(fds, timeoutMillis)
}

func (b *Board) Watch(fd int) (v4l2.Watcher, error) { return b.at(fd).Watch(fd) }

func (b *Board) Mmap(fd int, offset int64, length int) ([]byte, error) {
	return b.at(fd).Mmap(fd, offset, length)
}

// Munmap gets no file descriptor: only one camera at a time has buffers.
func (b *Board) Munmap(m []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.opened {
		if c.Mapped > 0 {
			return c.Munmap(m)
		}
	}
	return unix.EINVAL
}

// DeviceNumber returns the major number of video devices and the minor number that a path
// ends with.
func (b *Board) DeviceNumber(path string) (major, minor uint32, err error) {
	n, err := strconv.Atoi(strings.TrimLeft(path, "/abcdefghijklmnopqrstuvwxyz"))
	return 81, uint32(n), err
}

func (b *Board) Topology(fd int) (*v4l2.Topology, error) { return b.at(fd).Topology(fd) }

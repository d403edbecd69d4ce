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

// A device is what a Board has at a path.
type device interface {
	Open(path string) (fd int, err error)
	Close(fd int) error
	Ioctl(fd int, request uintptr, arg unsafe.Pointer) error
	Topology(fd int) (*v4l2.Topology, error)
	Poll(fds []unix.PollFd, timeoutMillis int) (n int, err error)
	Watch(fd int) (v4l2.Watcher, error)
	Mmap(fd int, offset int64, length int) ([]byte, error)
	Munmap(b []byte) error
	CheckReleased(t *testing.T)

	plug()
	unplug()
}

// A Board is the kernel of a machine that has devices, each at one or more paths. Its zero
// value has none.
type Board struct {
	mu      sync.Mutex
	devices map[string]device // by path
	opened  []device          // by file descriptor
	mapped  map[*byte]device  // by the first byte
}

// NewBoard returns a board with cameras, by path.
func NewBoard(cameras map[string]*Camera) *Board {
	b := &Board{}
	for path, c := range cameras {
		b.Plug(path, c)
	}
	return b
}

// Plug plugs in a camera at a path. One that was unplugged has no buffers any more.
func (b *Board) Plug(path string, c *Camera) { b.plug(path, c) }

// PlugEncoder does so with an encoder.
func (b *Board) PlugEncoder(path string, e *Encoder) { b.plug(path, e) }

func (b *Board) plug(path string, d device) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.devices == nil {
		b.devices = map[string]device{}
	}
	d.plug()
	b.devices[path] = d
}

// Unplug unplugs the device at a path, which then is gone from all its paths.
func (b *Board) Unplug(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.devices[path]
	gone.unplug()
	for path, d := range b.devices {
		if d == gone {
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
	d := b.devices[path]
	if d == nil {
		return -1, unix.ENOENT
	}
	if _, err := d.Open(path); err != nil {
		return -1, err
	}
	b.opened = append(b.opened, d)
	return len(b.opened) - 1, nil
}

func (b *Board) at(fd int) device {
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
	d := b.at(fd)
	m, err := d.Mmap(fd, offset, length)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mapped == nil {
		b.mapped = map[*byte]device{}
	}
	b.mapped[&m[0]] = d
	return m, nil
}

// Munmap gets no file descriptor.
func (b *Board) Munmap(m []byte) error {
	b.mu.Lock()
	d := b.mapped[&m[0]]
	delete(b.mapped, &m[0])
	b.mu.Unlock()
	if d == nil {
		return unix.EINVAL
	}
	return d.Munmap(m)
}

// DeviceNumber returns the major number of video devices and the minor number that a path
// ends with.
func (b *Board) DeviceNumber(path string) (major, minor uint32, err error) {
	n, err := strconv.Atoi(strings.TrimLeft(path, "/abcdefghijklmnopqrstuvwxyz"))
	return 81, uint32(n), err
}

func (b *Board) Topology(fd int) (*v4l2.Topology, error) { return b.at(fd).Topology(fd) }

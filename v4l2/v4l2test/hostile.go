//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

const (
	// maxCalls is more than a program makes that ends.
	maxCalls = 400_000

	// maxWaits is how often a program may wait for a picture until the device is gone.
	maxWaits = 20

	// maxMapped is the longest memory that can be mapped, in bytes.
	maxMapped = 1 << 20
)

// A Hostile is a kernel whose drivers lie. It changes what those of another kernel answer, as the
// bytes of a fuzzer say.
type Hostile struct {
	v4l2.Kernel
	content []byte // of memory

	mu     sync.Mutex // protects all of these
	lies   []byte     // of lieSize bytes each
	kept   map[uintptr]lie
	quiet  int // calls until the next lie
	calls  int
	waits  int
	files  int // open
	mapped map[*byte]bool
}

// A lie is a change of what a driver answers.
type lie struct {
	kind  byte
	at    uint16 // where in the answer
	value uint32
}

const (
	lieSize = 8

	lieError   = 0 // an error instead of an answer
	lieWord    = 1 // a word of the answer has another value
	liePlane   = 2 // likewise of the planes of a buffer
	lieSuccess = 3 // likewise, and an answer instead of an error
	lieKinds   = 4

	lieKept = 0x80 // all such requests from then on get that answer

	answers = 2 << 30 // in a request: the kernel writes to the argument (_IOC_READ)
)

var lieErrors = []unix.Errno{
	unix.EINVAL, unix.ENOTTY, unix.EIO, unix.EBUSY, unix.ENODEV, unix.EAGAIN, unix.ENOMEM, unix.EPIPE, unix.ERANGE,
}

// NewHostile returns a kernel that lies. Memory that it maps has content at its beginning.
func NewHostile(k v4l2.Kernel, content, lies []byte) *Hostile {
	h := &Hostile{Kernel: k, content: content, lies: lies, kept: map[uintptr]lie{}, mapped: map[*byte]bool{}}
	h.loadQuiet()
	return h
}

// loadQuiet reads when the next lie is.
func (h *Hostile) loadQuiet() {
	h.quiet = maxCalls
	if len(h.lies) >= lieSize {
		h.quiet = int(h.lies[0])
	}
}

// next counts a call and returns the lie to tell. mu is held.
func (h *Hostile) next(request uintptr) (l lie, ok bool) {
	if h.calls++; h.calls > maxCalls {
		panic("it makes calls without end")
	}
	if h.quiet > 0 {
		h.quiet--
		l, ok = h.kept[request]
		return l, ok
	}
	b := h.lies[:lieSize]
	h.lies = h.lies[lieSize:]
	h.loadQuiet()
	l = lie{b[1] &^ lieKept % lieKinds, binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
	if b[1]&lieKept != 0 {
		h.kept[request] = l
	}
	return l, true
}

func (l lie) err() unix.Errno { return lieErrors[l.value%uint32(len(lieErrors))] }

func (h *Hostile) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.Kernel.Ioctl(fd, request, arg)
	l, ok := h.next(request)
	if !ok || request == uapi.VIDIOC_STREAMOFF {
		return err
	}
	switch {
	case l.kind == lieError && l.err() == unix.EAGAIN:
		return unix.EAGAIN
	case l.kind == lieError:
		return os.NewSyscallError("ioctl("+uapi.RequestName(request)+")", l.err())
	case err != nil && l.kind != lieSuccess, request&answers == 0:
		return err
	}
	l.tell(request, arg)
	return nil
}

// tell changes an answer. Pointers in it stay: the kernel does not change those.
func (l lie) tell(request uintptr, arg unsafe.Pointer) {
	size := request >> 16 & 0x3fff
	switch request {
	case uapi.VIDIOC_G_EXT_CTRLS, uapi.VIDIOC_S_EXT_CTRLS:
		one := (*uapi.ExtControls)(arg).Controls
		one.Value[l.at%2] = l.value
		return
	case uapi.VIDIOC_QUERYBUF, uapi.VIDIOC_QBUF, uapi.VIDIOC_DQBUF:
		b := (*uapi.Buffer)(arg)
		if planes := b.Type >= uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE; planes && l.kind == liePlane && b.Offset != 0 {
			arg, size = *(*unsafe.Pointer)(unsafe.Pointer(&b.Offset)), uapi.VIDEO_MAX_PLANES*unsafe.Sizeof(uapi.Plane{})
		}
	}
	if words := size / 4; words > 0 {
		*(*uint32)(unsafe.Add(arg, uintptr(l.at)%words*4)) = l.value
	}
}

func (h *Hostile) Open(path string) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fd, err := h.Kernel.Open(path)
	if err == nil {
		h.files++
	}
	return fd, err
}

func (h *Hostile) Close(fd int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files--
	return h.Kernel.Close(fd)
}

// Mmap maps memory of any length, as if the driver had it.
func (h *Hostile) Mmap(_ int, _ int64, length int) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := h.next(0)
	switch {
	case ok && l.kind == lieError:
		return nil, os.NewSyscallError("mmap", l.err())
	case length <= 0:
		return nil, os.NewSyscallError("mmap", unix.EINVAL)
	case length > maxMapped:
		return nil, os.NewSyscallError("mmap", unix.ENOMEM)
	}
	b := make([]byte, length)
	copy(b, h.content)
	h.mapped[&b[0]] = true
	return b, nil
}

func (h *Hostile) Munmap(b []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.mapped[&b[0]] {
		panic("it unmaps what is not mapped")
	}
	delete(h.mapped, &b[0])
	return nil
}

func (h *Hostile) Poll(fds []unix.PollFd, _ int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.next(0); ok {
		fds[0].Revents = int16(l.value)
		return 1, nil
	}
	return 0, nil
}

// Watch returns a Watcher that does not sleep.
func (h *Hostile) Watch(fd int) (v4l2.Watcher, error) {
	w, err := h.Kernel.Watch(fd)
	return &hostileWatcher{w, h, fd}, err
}

type hostileWatcher struct {
	v4l2.Watcher // whose deadline is over
	hostile      *Hostile
	fd           int
}

func (w *hostileWatcher) Wait(try func(uintptr) bool) error {
	w.hostile.mu.Lock()
	w.hostile.waits++
	gone := w.hostile.waits > maxWaits
	w.hostile.mu.Unlock()
	if gone {
		return unix.ENODEV
	}
	return w.Watcher.Wait(try)
}

// SetDeadline and Close are not those of the other kernel's.
func (w *hostileWatcher) SetDeadline(time.Time) error { return nil }
func (w *hostileWatcher) Close() error                { return w.hostile.Close(w.fd) }

// IsReleased reports whether a program has closed and unmapped everything.
func (h *Hostile) IsReleased() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files == 0 && len(h.mapped) == 0
}

// CheckReleased reports an error if it has not.
func (h *Hostile) CheckReleased(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files != 0 || len(h.mapped) != 0 {
		t.Errorf("%d files are open and %d planes mapped, want none", h.files, len(h.mapped))
	}
}

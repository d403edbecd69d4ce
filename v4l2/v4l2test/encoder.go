//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

// An Encoder is an encoder of a board, from memory to memory, that behaves as its fields say. Each
// program that opens it has it for itself.
type Encoder struct {
	Driver string
	Single bool     // it has the API with one plane of memory
	Raw    []string // formats that it takes
	Coded  []string // formats that it makes

	Stride    uint32   // that the bytes of a row are rounded up to a multiple of
	Rows      uint32   // likewise the height
	Largest   uint32   // width and height
	CodedSize uint32   // bytes of a coded buffer, at least
	Quality   [2]int64 // the limits of its control; zero: it has a bit rate instead

	// JPEG makes a picture of a raw one.
	JPEG func(p RawPicture) []byte

	// Answer changes what picture n gives, from 1 on: the coded picture and the flags of its
	// buffer. It stalls if ok is false. Before makes another buffer come first.
	Answer func(n int, jpeg []byte) (data []byte, flags uint32, ok bool)
	Before []byte

	// Fail returns the error for a call, like "open" or "REQBUFS 1".
	Fail func(call string) error

	// A record of what programs did.
	Calls  []string
	Quiet  bool    // calls are not recorded any more
	Value  int64   // of the control
	Rate   float64 // of pictures, as VIDIOC_S_PARM has it
	Opened int     // how many times

	mu        sync.Mutex
	unplugged bool
	contexts  map[int]*encoderContext // of open files
	mapped    int
	files     int
	count     int // pictures
}

// A RawPicture is what an Encoder encodes.
type RawPicture struct {
	PixelFormat         string
	Width, Height, Rows int
	Strides             [3]int
	Planes              [][]byte
	Quality             int64
}

// NewEncoder returns one with the limits of the Raspberry Pi's that makes JPEG.
func NewEncoder(jpeg func(RawPicture) []byte) *Encoder {
	return &Encoder{
		Driver: "bcm2835-codec", Raw: []string{"YU12", "NV12", "YUYV", "RGB3"}, Coded: []string{"JPEG"},
		Stride: 32, Rows: 16, Largest: 1920, CodedSize: 4 << 20, Quality: [2]int64{1, 100}, JPEG: jpeg,
	}
}

// An encoderContext is what an encoder has for one open file.
type encoderContext struct {
	raw, coded format
	crop       [2]uint32
	deadline   time.Time
	late       []byte // a coded buffer that comes first
}

// A format is one of two directions, and its buffer.
type format struct {
	uapi.PixFormatMplane
	name      string // its letters
	memory    [][]byte
	queued    bool
	done      bool
	stamp     unix.Timeval
	used      uint32
	flags     uint32
	streaming bool
}

func (e *Encoder) plug() { e.unplugged = false }

func (e *Encoder) unplug() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unplugged = true
}

// note records a call and returns the error for it.
func (e *Encoder) note(call string) error {
	if !e.Quiet {
		e.Calls = append(e.Calls, call)
	}
	if e.unplugged && call != "close" && call != "munmap" {
		return unix.ENODEV
	}
	if e.Fail == nil {
		return nil
	}
	return e.Fail(call)
}

func (e *Encoder) Open(string) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.note("open"); err != nil {
		return -1, err
	}
	e.files++
	e.Opened++
	return 0, nil
}

func (e *Encoder) Close(fd int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.files--
	delete(e.contexts, fd)
	return e.note("close")
}

// context returns what there is for an open file.
func (e *Encoder) context(fd int) *encoderContext {
	if e.contexts == nil {
		e.contexts = map[int]*encoderContext{}
	}
	if e.contexts[fd] == nil {
		e.contexts[fd] = &encoderContext{late: e.Before}
	}
	return e.contexts[fd]
}

func (e *Encoder) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := strings.TrimPrefix(uapi.RequestName(request), "VIDIOC_")
	call := name
	if request == uapi.VIDIOC_REQBUFS {
		call = fmt.Sprint(name, " ", (*uapi.RequestBuffers)(arg).Count)
	}
	err := e.note(call)
	if err == nil {
		err = e.serve(e.context(fd), request, arg)
	}
	if err == nil || err == unix.EAGAIN {
		return err
	}
	return os.NewSyscallError("ioctl(VIDIOC_"+name+")", err)
}

func (e *Encoder) Topology(int) (*v4l2.Topology, error) { return nil, unix.ENOTTY }

func (e *Encoder) Poll([]unix.PollFd, int) (int, error) { return 0, nil }

// Mmap maps a plane: see describe.
func (e *Encoder) Mmap(fd int, offset int64, length int) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.note("mmap"); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	c := e.context(fd)
	e.mapped++
	if offset < codedOffset {
		return c.raw.memory[offset>>12][:length], nil
	}
	return c.coded.memory[(offset-codedOffset)>>12][:length], nil
}

func (e *Encoder) Munmap([]byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mapped--
	return os.NewSyscallError("munmap", e.note("munmap"))
}

func (e *Encoder) Watch(fd int) (v4l2.Watcher, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &encoderWatcher{e, fd}, e.note("watch")
}

// SetAnswer sets Answer while the encoder is in use.
func (e *Encoder) SetAnswer(answer func(n int, jpeg []byte) (data []byte, flags uint32, ok bool)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Answer = answer
}

// IsReleased reports whether no program has the encoder.
func (e *Encoder) IsReleased() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.files == 0
}

// CheckReleased reports an error if a program left something behind.
func (e *Encoder) CheckReleased(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.files != 0 || e.mapped != 0 {
		t.Errorf("%s: %d files are open and %d buffers mapped, want none", e.Driver, e.files, e.mapped)
	}
}

type encoderWatcher struct {
	encoder *Encoder
	fd      int
}

func (w *encoderWatcher) Wait(try func(uintptr) bool) error {
	if try(uintptr(w.fd)) {
		return nil
	}
	w.encoder.mu.Lock()
	deadline := w.encoder.context(w.fd).deadline
	w.encoder.mu.Unlock()
	time.Sleep(time.Until(deadline))
	return os.ErrDeadlineExceeded
}

func (w *encoderWatcher) SetDeadline(t time.Time) error {
	w.encoder.mu.Lock()
	defer w.encoder.mu.Unlock()
	w.encoder.context(w.fd).deadline = t
	return nil
}

func (w *encoderWatcher) Close() error { return w.encoder.Close(w.fd) }

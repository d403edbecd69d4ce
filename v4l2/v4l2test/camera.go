//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

// A Camera is a video node that behaves as its fields say, and the kernel of a machine
// that has no other device. It records what a program does to it and returns the errors
// that a driver would. Fields may be set before the program opens it.
type Camera struct {
	// Fields of VIDIOC_QUERYCAP.
	Driver, Card, BusInfo string
	Capabilities          uint32 // of the device
	DeviceCaps            uint32 // of the node

	Formats   []string     // their letters
	Sizes     [][2]uint32  // of each format; none: it does not tell
	Largest   [2]uint32    // if not zero, it has all sizes from 32x32 to this one
	Intervals []uapi.Fract // of each size; none: it does not tell
	Strides   []uint32     // of each plane of memory, if it has V4L2_CAP_VIDEO_CAPTURE_MPLANE

	Parm       uapi.CaptureParm // as VIDIOC_G_PARM returns it
	Slowest    uapi.Fract       // what VIDIOC_S_PARM grants, unless it is zero
	MaxBuffers uint32           // that VIDIOC_REQBUFS grants
	BufferSize uint32           // bytes
	Controls   []*Control       // in the order of their IDs
	DVTimings  uapi.DVTimings   // of the signal of HDMI; zero: it is no receiver of that
	Std        uapi.Std         // of the signal of television; zero: it is no receiver of that
	Media      *v4l2.Topology   // if it is a media device

	// Pictures come in batches. Each wait makes the next batch ready, and after the last
	// one waits time out.
	Batches  [][]Picture
	Endless  bool          // the last batch comes again and again
	Interval time.Duration // between batches; 0: they come at once
	Startup  time.Duration // from VIDIOC_STREAMON to the first batch
	Revents  int16         // what poll(2) returns

	// Faults. Fail returns the error for a call, like "open", "QUERYCAP" or
	// "REQBUFS 4". Calls that release something do that all the same. Grant changes what
	// VIDIOC_S_FMT grants, and Refuse lets it fail with EINVAL.
	Fail         func(call string) error
	Grant        func(asked *uapi.PixFormat)
	Refuse       func(asked *uapi.PixFormat) bool
	EndlessLists bool // of formats, sizes and intervals
	Time64       bool // requests about buffers need uapi.BufferTime64

	// A record of what the program did.
	Calls        []string
	Pix          uapi.PixFormat // that is set
	SetDVTimings uapi.DVTimings
	SetStd       uapi.Std
	Mapped       int      // buffers
	Queued       []uint32 // buffers, in the order in which they are filled

	mu        sync.Mutex // calls come one at a time
	files     int        // open
	memory    [][]byte   // of the planes of the buffers
	ready     []Picture
	streaming bool
	due       time.Time // when the next batch is, with Interval or Startup
	unplugged atomic.Bool
}

// A Picture is what the camera puts into a buffer.
type Picture struct {
	Data   []byte
	More   [][]byte             // in the other planes of memory
	Change func(b *uapi.Buffer) // changes what VIDIOC_DQBUF returns, if not nil
}

// NewCamera returns an ordinary USB camera, as yet without pictures.
func NewCamera() *Camera {
	return &Camera{
		Driver:       "fakevideo",
		Card:         "Fake Webcam",
		Capabilities: uapi.V4L2_CAP_VIDEO_CAPTURE | uapi.V4L2_CAP_STREAMING | uapi.V4L2_CAP_DEVICE_CAPS,
		DeviceCaps:   uapi.V4L2_CAP_VIDEO_CAPTURE | uapi.V4L2_CAP_STREAMING,
		Formats:      []string{"YUYV", "MJPG"},
		Parm:         uapi.CaptureParm{Capability: uapi.V4L2_CAP_TIMEPERFRAME, TimePerFrame: uapi.Fract{Numerator: 1, Denominator: 25}},
		MaxBuffers:   32,
		BufferSize:   64 << 10,
	}
}

// Show adds pictures that come one at a time.
func (c *Camera) Show(pictures ...[]byte) {
	for _, data := range pictures {
		c.Batches = append(c.Batches, []Picture{{Data: data}})
	}
}

// note records a call and returns the error for it.
func (c *Camera) note(call string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Calls = append(c.Calls, call)
	if c.unplugged.Load() && call != "close" && call != "munmap" {
		return unix.ENODEV
	}
	if c.Fail == nil {
		return nil
	}
	return c.Fail(call)
}

// FailAt returns a Fail that returns err for each call of a name.
func FailAt(name string, err error) func(string) error {
	return func(call string) error {
		if call, _, _ = strings.Cut(call, " "); call == name {
			return err
		}
		return nil
	}
}

func (c *Camera) plug() {
	if c.unplugged.Swap(false) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.memory, c.Queued, c.streaming = nil, nil, false
	}
}

func (c *Camera) unplug() { c.unplugged.Store(true) }

func (c *Camera) Open(string) (int, error) {
	if err := c.note("open"); err != nil {
		return -1, err
	}
	c.files++
	return 7, nil
}

func (c *Camera) Close(int) error {
	c.files--
	return c.note("close")
}

func (c *Camera) Mmap(_ int, offset int64, length int) ([]byte, error) {
	if err := c.note("mmap"); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	c.Mapped++
	return c.memory[offset>>16][:length], nil
}

func (c *Camera) Munmap([]byte) error {
	c.Mapped--
	return os.NewSyscallError("munmap", c.note("munmap"))
}

func (c *Camera) Poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	if c.Revents == 0 {
		return 0, nil
	}
	fds[0].Revents = c.Revents
	return 1, nil
}

func (c *Camera) Watch(fd int) (v4l2.Watcher, error) {
	return &watcher{camera: c, fd: fd}, c.note("watch")
}

func (c *Camera) DeviceNumber(string) (major, minor uint32, err error) { return 0, 0, unix.ENOENT }

func (c *Camera) Glob(string) []string { return nil }

func (c *Camera) Topology(int) (*v4l2.Topology, error) {
	if c.Media == nil {
		return nil, unix.ENOTTY
	}
	return c.Media, nil
}

type watcher struct {
	camera   *Camera
	fd       int
	deadline time.Time
}

func (w *watcher) Wait(try func(uintptr) bool) error {
	c := w.camera
	if err := c.note("wait"); err != nil {
		return err
	}
	if wait := c.untilDue(); wait > 0 {
		time.Sleep(min(wait, time.Until(w.deadline)))
		if c.unplugged.Load() {
			try(uintptr(w.fd))
			return nil
		}
		if c.untilDue() > 0 {
			return os.ErrDeadlineExceeded
		}
	}
	c.nextBatch()
	if try(uintptr(w.fd)) {
		return nil
	}
	if c.Revents == unix.POLLERR {
		return errors.New("not pollable") // as Go's poller says then
	}
	time.Sleep(time.Until(w.deadline))
	return os.ErrDeadlineExceeded
}

func (c *Camera) untilDue() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Until(c.due)
}

// nextBatch makes the next pictures ready, if the ones before were taken.
func (c *Camera) nextBatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = c.due.Add(c.Interval)
	if len(c.ready) == 0 && len(c.Batches) > 0 {
		c.ready = c.Batches[0]
		if len(c.Batches) > 1 || !c.Endless {
			c.Batches = c.Batches[1:]
		}
	}
}

func (w *watcher) SetDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *watcher) Close() error { return w.camera.Close(w.fd) }

// WithFlags returns a change that sets flags of a buffer.
func WithFlags(flags uint32) func(*uapi.Buffer) {
	return func(b *uapi.Buffer) { b.Flags |= flags }
}

// CheckReleased reports an error if a program that has closed the camera left something
// behind.
func (c *Camera) CheckReleased(t *testing.T) {
	t.Helper()
	if c.files != 0 || c.Mapped != 0 {
		t.Errorf("%d files are open and %d buffers mapped, want none", c.files, c.Mapped)
	}
}

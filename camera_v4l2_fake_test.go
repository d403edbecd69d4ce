//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A fakeKernel has one camera, which behaves as its fields say. It keeps book
// of what porthole has of it, and returns the errors that a driver would.
type fakeKernel struct {
	card, driver string
	capabilities uint32 // of the device
	deviceCaps   uint32 // of the node
	formats      []string
	sizes        [][2]uint32                // of each format; none: not told
	largest      [2]uint32                  // if sizes are all even ones from 32x32 to this
	intervals    []v4l2Fract                // of each size; none: not told
	time64       bool                       // calls about buffers are with v4l2BufferTime64
	grant        func(asked *v4l2PixFormat) // what S_FMT makes of it; nil: grants it
	parm         v4l2CaptureParm            // as G_PARM has it
	slowest      v4l2Fract                  // what S_PARM grants, unless it is zero
	buffers      uint32                     // granted at most
	size         uint32                     // of a buffer, bytes
	controls     []*fakeControl
	bus          string        // where it is connected
	graph        *mediaGraph   // if it is a media device
	incoming     v4l2DVTimings // what comes in through HDMI; zero: it is a camera
	standard     v4l2Std       // the same of analog television

	// Each wait makes the next batch of pictures ready. When there are no
	// more, waits time out.
	batches [][]fakePicture
	endless bool          // the last batch comes over and over
	every   time.Duration // between pictures; 0: they come at once
	startup time.Duration // from STREAMON to the first picture
	revents int16         // what polls say

	// fail returns the error that a call is to have. Calls that release
	// something do so all the same.
	fail func(call string) error

	refuse       func(pix *v4l2PixFormat) bool // S_FMT is EINVAL, if not nil
	endlessLists bool                          // of formats, sizes and intervals

	mu        sync.Mutex    // has calls come one at a time
	calls     []string      // "open", "QUERYCAP", "REQBUFS 4", …
	files     int           // open
	pix       v4l2PixFormat // that is set
	memory    [][]byte      // of the buffers
	mapped    int           // buffers
	queued    []uint32      // buffers, in the order in which they are filled
	ready     []fakePicture
	streaming bool
	due       time.Time // the next picture, with every or startup
	unplugged atomic.Bool
	timings   v4l2DVTimings // that are set
	std       v4l2Std       // that is set
}

// A fakePicture is what the camera puts into a buffer.
type fakePicture struct {
	data   []byte
	change func(b *v4l2Buffer) // what DQBUF is to say otherwise, if not nil
}

// newFakeKernel returns a kernel with an ordinary USB camera.
func newFakeKernel() *fakeKernel {
	return &fakeKernel{
		card:         "Fake Webcam",
		driver:       "fakevideo",
		capabilities: capVideoCapture | capStreaming | capDeviceCaps,
		deviceCaps:   capVideoCapture | capStreaming,
		formats:      []string{"YUYV", "MJPG"},
		parm:         v4l2CaptureParm{capability: capTimePerFrame, timePerFrame: v4l2Fract{1, 25}},
		buffers:      32,
		size:         64 << 10,
	}
}

// shows sets the pictures that come, one at a time.
func (k *fakeKernel) shows(pictures ...[]byte) {
	for _, data := range pictures {
		k.batches = append(k.batches, []fakePicture{{data: data}})
	}
}

// note writes a call down and returns the error it is to have.
func (k *fakeKernel) note(call string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, call)
	if k.unplugged.Load() && call != "close" && call != "munmap" {
		return unix.ENODEV
	}
	if k.fail == nil {
		return nil
	}
	return k.fail(call)
}

// failAt returns a fail that has all the calls of that name return err.
func failAt(name string, err error) func(string) error {
	return func(call string) error {
		if call, _, _ = strings.Cut(call, " "); call == name {
			return err
		}
		return nil
	}
}

func (k *fakeKernel) open(string) (int, error) {
	if err := k.note("open"); err != nil {
		return -1, err
	}
	k.files++
	return 7, nil
}

func (k *fakeKernel) close(int) error {
	k.files--
	return k.note("close")
}

func (k *fakeKernel) mmap(_ int, offset int64, length int) ([]byte, error) {
	if err := k.note("mmap"); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	k.mapped++
	return k.memory[offset>>16][:length], nil
}

func (k *fakeKernel) munmap([]byte) error {
	k.mapped--
	return os.NewSyscallError("munmap", k.note("munmap"))
}

func (k *fakeKernel) poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	if k.revents == 0 {
		return 0, nil
	}
	fds[0].Revents = k.revents
	return 1, nil
}

func (k *fakeKernel) watch(fd int) (watcher, error) {
	return &fakeWatcher{kernel: k, fd: fd}, k.note("watch")
}

func (k *fakeKernel) deviceNumber(string) (major, minor uint32, ok bool) { return 0, 0, false }

func (k *fakeKernel) mediaDevices() []string { return nil }

func (k *fakeKernel) topology(_ int, g *mediaGraph) error {
	if k.graph == nil {
		return unix.ENOTTY
	}
	*g = *k.graph
	return nil
}

type fakeWatcher struct {
	kernel   *fakeKernel
	fd       int
	deadline time.Time
}

func (w *fakeWatcher) wait(try func(uintptr) bool) error {
	k := w.kernel
	if err := k.note("wait"); err != nil {
		return err
	}
	if wait := k.untilDue(); wait > 0 {
		time.Sleep(min(wait, time.Until(w.deadline)))
		if k.unplugged.Load() {
			try(uintptr(w.fd))
			return nil
		}
		if k.untilDue() > 0 {
			return os.ErrDeadlineExceeded
		}
	}
	k.nextBatch()
	if try(uintptr(w.fd)) {
		return nil
	}
	if k.revents == unix.POLLERR {
		return errors.New("not pollable") // as Go's poller says then
	}
	time.Sleep(time.Until(w.deadline))
	return os.ErrDeadlineExceeded
}

func (k *fakeKernel) untilDue() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(k.due)
}

// nextBatch has the next pictures ready, if the ones before were taken.
func (k *fakeKernel) nextBatch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.due = k.due.Add(k.every)
	if len(k.ready) == 0 && len(k.batches) > 0 {
		k.ready = k.batches[0]
		if len(k.batches) > 1 || !k.endless {
			k.batches = k.batches[1:]
		}
	}
}

func (w *fakeWatcher) setDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *fakeWatcher) close() error { return w.kernel.close(w.fd) }

func (k *fakeKernel) ioctl(_ int, request uintptr, arg unsafe.Pointer) error {
	if k.time64 {
		for _, narrow := range []uintptr{vidiocQueryBuf, vidiocQBuf, vidiocDQBuf} {
			switch request {
			case narrow:
				return unix.ENOTTY
			case time64Request(narrow):
				return k.ioctlTime64(narrow, (*v4l2BufferTime64)(arg))
			}
		}
	}
	return k.ioctlNarrow(request, arg)
}

// ioctlTime64 makes a call with the wide structure as if it had the other.
func (k *fakeKernel) ioctlTime64(request uintptr, w *v4l2BufferTime64) error {
	var b v4l2Buffer
	w.get(&b)
	if err := k.ioctlNarrow(request, unsafe.Pointer(&b)); err != nil {
		return err
	}
	w.set(&b)
	w.seconds, w.micros = int64(b.timestamp.Sec), int64(b.timestamp.Usec)
	return nil
}

func (k *fakeKernel) ioctlNarrow(request uintptr, arg unsafe.Pointer) error {
	name := strings.TrimPrefix(requestNames[request], "VIDIOC_")
	call := name
	if request == vidiocReqBufs {
		call = fmt.Sprint(name, " ", (*v4l2RequestBuffers)(arg).count)
	}
	err := k.note(call)
	if err == nil {
		k.mu.Lock()
		err = k.serve(request, arg)
		k.mu.Unlock()
	}
	if err == nil || err == unix.EAGAIN {
		return err
	}
	return os.NewSyscallError("ioctl(VIDIOC_"+name+")", err)
}

func (k *fakeKernel) serve(request uintptr, arg unsafe.Pointer) error {
	switch request {
	case vidiocQueryCap:
		caps := (*v4l2Capability)(arg)
		copy(caps.card[:], k.card)
		copy(caps.driver[:], k.driver)
		copy(caps.busInfo[:], k.bus)
		caps.capabilities, caps.deviceCaps = k.capabilities, k.deviceCaps
	case vidiocEnumFmt:
		desc := (*v4l2FmtDesc)(arg)
		if k.endlessLists {
			desc.pixelFormat = fourccCode("MJPG")
			return nil
		}
		if int(desc.index) >= len(k.formats) {
			return unix.EINVAL
		}
		desc.pixelFormat = fourccCode(fmt.Sprintf("%-4s", k.formats[desc.index]))
	case vidiocSFmt:
		if len(k.memory) > 0 {
			return unix.EBUSY
		}
		pix := &(*v4l2Format)(arg).pix
		if k.refuse != nil && k.refuse(pix) {
			return unix.EINVAL
		}
		pix.bytesPerLine = 2 * pix.width // what YUYV has
		pix.priv, pix.colorspace = pixFmtPrivMagic, colorspaceJPEG
		if k.grant != nil {
			k.grant(pix)
		}
		k.pix = *pix
	case vidiocGFmt:
		(*v4l2Format)(arg).pix = k.pix
	case vidiocEnumFrameSizes:
		size := (*v4l2FrmSizeEnum)(arg)
		if k.endlessLists {
			size.typ, size.width, size.height = frmSizeTypeDiscrete, 640, 480
			return nil
		}
		if k.largest != [2]uint32{} && size.index == 0 {
			size.typ = 3                               // V4L2_FRMSIZE_TYPE_STEPWISE
			size.width, size.height = 32, k.largest[0] // these are the least and the most width
			return nil
		}
		if int(size.index) >= len(k.sizes) {
			return unix.EINVAL
		}
		size.typ = frmSizeTypeDiscrete
		size.width, size.height = k.sizes[size.index][0], k.sizes[size.index][1]
	case vidiocEnumFrameIntervals:
		ival := (*v4l2FrmIvalEnum)(arg)
		if k.endlessLists {
			ival.typ, ival.interval = frmIvalTypeDiscrete, v4l2Fract{1, 30}
			return nil
		}
		if int(ival.index) >= len(k.intervals) {
			return unix.EINVAL
		}
		ival.typ, ival.interval = frmIvalTypeDiscrete, k.intervals[ival.index]
	case vidiocSubscribeEvent, vidiocGInput, vidiocSInput:
	case vidiocQueryDVTimings, vidiocSDVTimings, vidiocQueryStd, vidiocSStd:
		return k.serveSignal(request, arg)
	case vidiocGParm:
		(*v4l2StreamParm)(arg).capture = k.parm
	case vidiocSParm:
		k.parm.timePerFrame = (*v4l2StreamParm)(arg).capture.timePerFrame
		if k.slowest.numerator != 0 {
			k.parm.timePerFrame = k.slowest
		}
		(*v4l2StreamParm)(arg).capture = k.parm
	case vidiocStreamOn:
		k.streaming = true
		k.due = time.Now().Add(k.startup)
	case vidiocStreamOff:
		k.streaming, k.queued = false, nil
	case vidiocQueryExtCtrl, vidiocQueryCtrl, vidiocQueryMenu, vidiocGExtCtrls, vidiocSExtCtrls:
		return k.serveControls(request, arg)
	default:
		return k.serveBuffers(request, arg)
	}
	return nil
}

func (k *fakeKernel) serveSignal(request uintptr, arg unsafe.Pointer) error {
	hdmi, analog := k.incoming != v4l2DVTimings{}, k.standard != v4l2Std{}
	switch {
	case request == vidiocQueryDVTimings && hdmi:
		*(*v4l2DVTimings)(arg) = k.incoming
	case request == vidiocSDVTimings && hdmi:
		k.timings = *(*v4l2DVTimings)(arg)
	case request == vidiocQueryStd && analog:
		*(*v4l2Std)(arg) = k.standard
	case request == vidiocSStd && analog:
		k.std = *(*v4l2Std)(arg)
	case hdmi || analog:
		return unix.ENODATA // not of this input
	default:
		return unix.ENOTTY
	}
	return nil
}

func (k *fakeKernel) serveBuffers(request uintptr, arg unsafe.Pointer) error {
	if request == vidiocReqBufs {
		req := (*v4l2RequestBuffers)(arg)
		if k.mapped > 0 {
			return unix.EBUSY
		}
		req.count = min(req.count, k.buffers)
		k.memory, k.queued = nil, nil
		for range req.count {
			k.memory = append(k.memory, make([]byte, k.size))
		}
		return nil
	}
	b := (*v4l2Buffer)(arg)
	switch request {
	case vidiocQueryBuf:
		b.offset, b.length = uintptr(b.index<<16), k.size
	case vidiocQBuf:
		if int64(b.index) >= int64(len(k.memory)) || slices.Contains(k.queued, b.index) {
			return unix.EINVAL
		}
		k.queued = append(k.queued, b.index)
		clear(k.memory[b.index]) // the next picture comes at any time
	case vidiocDQBuf:
		if !k.streaming {
			return unix.EINVAL
		}
		if len(k.ready) == 0 || len(k.queued) == 0 {
			return unix.EAGAIN
		}
		picture := k.ready[0]
		k.ready = k.ready[1:]
		b.index, b.length = k.queued[0], k.size
		k.queued = slices.Delete(k.queued, 0, 1)
		b.bytesUsed = uint32(copy(k.memory[b.index], picture.data))
		if picture.change != nil {
			picture.change(b)
		}
	}
	return nil
}

// hasFlags is a change that sets flags of a buffer.
func hasFlags(flags uint32) func(*v4l2Buffer) {
	return func(b *v4l2Buffer) { b.flags |= flags }
}

const fakePath = "/dev/video7"

// smallSize keeps slow boards, and emulated ones, from being busy for long.
var smallSize = settings{camera: "auto", width: 320, height: 180, quality: 80}

// openFake opens the camera of k. When the test ends it is closed, and nothing
// may be left of it.
func openFake(t *testing.T, k *fakeKernel) *v4l2Camera {
	t.Helper()
	c, err := openNode(k, fakePath, smallSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		k.checkReleased(t)
	})
	return c.(*v4l2Camera)
}

func (k *fakeKernel) checkReleased(t *testing.T) {
	t.Helper()
	if k.files != 0 || k.mapped != 0 {
		t.Errorf("%d files are open and %d buffers mapped, want none", k.files, k.mapped)
	}
}

// captureOne returns the next picture of c.
func captureOne(c camera) ([]byte, error) {
	picture, _, err := c.Capture(context.Background(), nil)
	return picture, err
}

// session opens the camera of k, captures pictures and closes it. It returns
// the first error.
func session(k *fakeKernel, pictures int) error {
	c, err := openNode(k, fakePath, smallSize)
	if err != nil {
		return err
	}
	for range pictures {
		if _, err = captureOne(c); err != nil {
			break
		}
	}
	return cmp.Or(err, c.Close())
}

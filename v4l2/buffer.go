//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A Buffer is one that Dequeue has taken from the driver. Its zero value can be passed to
// Dequeue.
type Buffer struct {
	raw    uapi.Buffer
	count  int // of planes
	planes [uapi.VIDEO_MAX_PLANES][]byte
}

// Planes returns the bytes that the driver has written into each plane of memory: there is
// one, unless a format has more. They are valid until the buffer is queued again.
func (b *Buffer) Planes() [][]byte { return b.planes[:b.count] }

// Data returns the bytes in the first plane.
func (b *Buffer) Data() []byte { return b.planes[0] }

// Damaged reports whether the driver says that the picture is broken
// (V4L2_BUF_FLAG_ERROR), or there is none.
func (b *Buffer) Damaged() bool {
	return b.raw.Flags&uapi.V4L2_BUF_FLAG_ERROR != 0 || len(b.Data()) == 0
}

// Monotonic returns when the picture was captured, by CLOCK_MONOTONIC. ok is false if the
// driver uses another clock.
func (b *Buffer) Monotonic() (at time.Duration, ok bool) {
	ok = b.raw.Flags&uapi.V4L2_BUF_FLAG_TIMESTAMP_MASK == uapi.V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC
	return time.Duration(b.raw.Timestamp.Nano()), ok
}

// RequestBuffers gets at most count buffers from the driver (VIDIOC_REQBUFS), maps them
// into memory (VIDIOC_QUERYBUF, mmap(2)) and queues them to be filled (VIDIOC_QBUF). It
// returns how many there are; 0 if the driver has no memory for pictures of this size.
func (d *Device) RequestBuffers(count int) (granted int, err error) {
	d.requested = true
	req := uapi.RequestBuffers{Count: uint32(count), Type: d.bufType(), Memory: uapi.V4L2_MEMORY_MMAP}
	if err := d.ioctl(uapi.VIDIOC_REQBUFS, unsafe.Pointer(&req)); err != nil {
		return 0, err
	}
	for i := range req.Count {
		var b Buffer
		d.reset(&b)
		b.raw.Index = i
		if err := d.bufferIoctl(uapi.VIDIOC_QUERYBUF, &b.raw); err != nil {
			return 0, err
		}
		if err := d.mapBuffer(&b.raw); err != nil {
			return 0, err
		}
		if err := d.Queue(&b); err != nil {
			return 0, err
		}
	}
	return len(d.mapped), nil
}

// mapBuffer maps the planes of a buffer, which VIDIOC_QUERYBUF has described.
func (d *Device) mapBuffer(b *uapi.Buffer) error {
	planes := []uapi.Plane{{MemOffset: b.Offset, Length: b.Length}}
	if d.mplane {
		planes = d.planes[:min(b.Length, uapi.VIDEO_MAX_PLANES)]
	}
	d.mapped = append(d.mapped, nil)
	last := &d.mapped[len(d.mapped)-1]
	for _, p := range planes {
		mapped, err := d.kernel.Mmap(d.fd, int64(p.MemOffset), int(p.Length))
		if err != nil {
			return err
		}
		*last = append(*last, mapped)
	}
	return nil
}

// ReleaseBuffers stops the device and gives the buffers back, if there are any. Nothing but Close
// and requests about controls may follow.
func (d *Device) ReleaseBuffers() error {
	if !d.requested {
		return nil
	}
	d.requested = false
	var errs []error
	typ := int32(d.bufType())
	errs = append(errs, d.ioctl(uapi.VIDIOC_STREAMOFF, unsafe.Pointer(&typ)))
	for _, mapped := range slices.Concat(d.mapped...) {
		errs = append(errs, d.kernel.Munmap(mapped))
	}
	d.mapped = nil
	none := uapi.RequestBuffers{Type: d.bufType(), Memory: uapi.V4L2_MEMORY_MMAP}
	return errors.Join(append(errs, d.ioctl(uapi.VIDIOC_REQBUFS, unsafe.Pointer(&none)))...)
}

// StreamOn starts the capture (VIDIOC_STREAMON), and lights the lamp that many cameras
// have. EBUSY says that another program uses the device, ENOSPC that the USB has no
// bandwidth left, and EPIPE that the pipeline of the device is not set up.
func (d *Device) StreamOn() error {
	typ := int32(d.bufType())
	if err := d.ioctl(uapi.VIDIOC_STREAMON, unsafe.Pointer(&typ)); err != nil {
		return err
	}
	watcher, err := d.kernel.Watch(d.fd)
	if err != nil {
		return err
	}
	d.watcher = watcher
	d.try = func(uintptr) bool {
		d.dequeued = d.TryDequeue(d.waiting)
		return d.dequeued != unix.EAGAIN
	}
	return nil
}

// SetDeadline sets when Dequeue gives up. It is for after StreamOn.
func (d *Device) SetDeadline(t time.Time) error {
	return d.watcher.SetDeadline(t)
}

// ErrStopped is an error of Dequeue: the device streams no more and does not say why.
var ErrStopped = errors.New("the device has stopped streaming")

// Dequeue waits until the driver has filled a buffer and takes it (VIDIOC_DQBUF). After
// the deadline it returns os.ErrDeadlineExceeded. ENODEV says that the device was
// unplugged. It allocates nothing if b is not on the stack.
func (d *Device) Dequeue(b *Buffer) error {
	d.waiting = b
	err := d.watcher.Wait(d.try)
	switch {
	case err == nil:
		return d.dequeued
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case d.try(0): // there is nothing to wait for: VIDIOC_DQBUF may tell why
		return d.dequeued
	}
	return ErrStopped
}

// TryDequeue takes a buffer that is filled already. It returns unix.EAGAIN if there is
// none.
func (d *Device) TryDequeue(b *Buffer) error {
	d.reset(b)
	if err := d.bufferIoctl(uapi.VIDIOC_DQBUF, &b.raw); err != nil {
		return err
	}
	if int64(b.raw.Index) >= int64(len(d.mapped)) {
		return errNotOurs
	}
	mapped := d.mapped[b.raw.Index]
	for i, m := range mapped {
		first, end := uint32(0), b.raw.BytesUsed
		if d.mplane {
			first, end = d.planes[i].DataOffset, d.planes[i].BytesUsed
		}
		if int64(end) > int64(len(m)) {
			return errNotOurs
		}
		b.planes[i] = m[min(first, end):end]
	}
	b.count = len(mapped)
	return nil
}

var errNotOurs = errors.New("the driver returned a buffer that it does not have")

// Queue gives a buffer back to be filled (VIDIOC_QBUF).
func (d *Device) Queue(b *Buffer) error {
	b.count, b.planes = 0, [uapi.VIDEO_MAX_PLANES][]byte{}
	return d.bufferIoctl(uapi.VIDIOC_QBUF, &b.raw)
}

func (d *Device) reset(b *Buffer) {
	*b = Buffer{raw: uapi.Buffer{Type: d.bufType(), Memory: uapi.V4L2_MEMORY_MMAP}}
}

// bufferIoctl makes a request about a buffer, in the layout that the kernel has for it: on
// 32 bits there are two. The kernel reads and writes d.planes through a pointer that is a
// number to Go, so a Pinner keeps it in place.
func (d *Device) bufferIoctl(request uintptr, b *uapi.Buffer) error {
	if d.mplane {
		var pin runtime.Pinner
		defer pin.Unpin()
		pin.Pin(&d.planes)
		clear(d.planes[:])
		b.Offset, b.Length = uintptr(unsafe.Pointer(&d.planes)), uapi.VIDEO_MAX_PLANES
	}
	if !d.time64 {
		err := d.ioctl(request, unsafe.Pointer(b))
		if !uapi.TimeIs32 || !errors.Is(err, unix.ENOTTY) {
			return err
		}
		d.time64 = true
	}
	d.wide.Set(b)
	if err := d.ioctl(uapi.Time64Request(request), unsafe.Pointer(&d.wide)); err != nil {
		return err
	}
	d.wide.Get(b)
	return nil
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A Buffer is one that Dequeue has taken from the driver. Its zero value can be passed to
// Dequeue.
type Buffer struct {
	raw  uapi.Buffer
	data []byte
}

// Data returns the bytes that the driver has written. They are valid until the buffer is
// queued again.
func (b *Buffer) Data() []byte { return b.data }

// Damaged reports whether the driver says that the picture is broken
// (V4L2_BUF_FLAG_ERROR), or there is none.
func (b *Buffer) Damaged() bool {
	return b.raw.Flags&uapi.V4L2_BUF_FLAG_ERROR != 0 || len(b.data) == 0
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
	req := uapi.RequestBuffers{Count: uint32(count), Type: uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE, Memory: uapi.V4L2_MEMORY_MMAP}
	if err := d.ioctl(uapi.VIDIOC_REQBUFS, unsafe.Pointer(&req)); err != nil {
		return 0, err
	}
	for i := range req.Count {
		var b Buffer
		b.reset()
		b.raw.Index = i
		if err := d.bufferIoctl(uapi.VIDIOC_QUERYBUF, &b.raw); err != nil {
			return 0, err
		}
		mapped, err := d.kernel.Mmap(d.fd, int64(b.raw.Offset), int(b.raw.Length))
		if err != nil {
			return 0, err
		}
		d.mapped = append(d.mapped, mapped)
		if err := d.Queue(&b); err != nil {
			return 0, err
		}
	}
	return len(d.mapped), nil
}

// releaseBuffers stops the device and gives the buffers back.
func (d *Device) releaseBuffers() (errs []error) {
	typ := int32(uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE)
	errs = append(errs, d.ioctl(uapi.VIDIOC_STREAMOFF, unsafe.Pointer(&typ)))
	for _, mapped := range d.mapped {
		errs = append(errs, d.kernel.Munmap(mapped))
	}
	d.mapped = nil
	none := uapi.RequestBuffers{Type: uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE, Memory: uapi.V4L2_MEMORY_MMAP}
	return append(errs, d.ioctl(uapi.VIDIOC_REQBUFS, unsafe.Pointer(&none)))
}

// StreamOn starts the capture (VIDIOC_STREAMON), and lights the lamp that many cameras
// have. EBUSY says that another program uses the device, ENOSPC that the USB has no
// bandwidth left, and EPIPE that the pipeline of the device is not set up.
func (d *Device) StreamOn() error {
	typ := int32(uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE)
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
	b.reset()
	if err := d.bufferIoctl(uapi.VIDIOC_DQBUF, &b.raw); err != nil {
		return err
	}
	if int64(b.raw.Index) >= int64(len(d.mapped)) || int64(b.raw.BytesUsed) > int64(len(d.mapped[b.raw.Index])) {
		return errors.New("the driver returned a buffer that it does not have")
	}
	b.data = d.mapped[b.raw.Index][:b.raw.BytesUsed]
	return nil
}

// Queue gives a buffer back to be filled (VIDIOC_QBUF).
func (d *Device) Queue(b *Buffer) error {
	b.data = nil
	return d.bufferIoctl(uapi.VIDIOC_QBUF, &b.raw)
}

func (b *Buffer) reset() {
	*b = Buffer{raw: uapi.Buffer{Type: uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE, Memory: uapi.V4L2_MEMORY_MMAP}}
}

// bufferIoctl makes a request about a buffer, in the layout that the kernel has for it: on
// 32 bits there are two.
func (d *Device) bufferIoctl(request uintptr, b *uapi.Buffer) error {
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

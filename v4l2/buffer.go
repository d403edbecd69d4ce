//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"os"
	"time"

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
	if err := d.capture.request(count); err != nil {
		return 0, err
	}
	for i := range d.capture.mapped {
		b := d.capture.buffer(i)
		if err := d.capture.enqueue(&b); err != nil {
			return 0, err
		}
	}
	return len(d.capture.mapped), nil
}

// StreamOn starts the capture (VIDIOC_STREAMON), and lights the lamp that many cameras
// have. EBUSY says that another program uses the device, ENOSPC that the USB has no
// bandwidth left, and EPIPE that the pipeline of the device is not set up.
func (d *Device) StreamOn() error {
	if err := d.capture.streamOn(); err != nil {
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
func (d *Device) TryDequeue(b *Buffer) error { return d.capture.dequeue(b) }

// Queue gives a buffer back to be filled (VIDIOC_QBUF).
func (d *Device) Queue(b *Buffer) error {
	b.count, b.planes = 0, [uapi.VIDEO_MAX_PLANES][]byte{}
	return d.capture.enqueue(&b.raw)
}

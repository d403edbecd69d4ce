//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A queue is the buffers of a device for one direction: those that the driver fills, or those
// that it reads.
type queue struct {
	device *Device
	typ    uint32 // V4L2_BUF_TYPE_VIDEO_CAPTURE or another

	requested bool                              // VIDIOC_REQBUFS was made
	mapped    [][][]byte                        // the planes of each buffer
	planes    [uapi.VIDEO_MAX_PLANES]uapi.Plane // of the buffer that a request is about
}

// mplane reports whether pictures come in planes of memory, one or more.
func (q *queue) mplane() bool {
	return q.typ == uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE || q.typ == uapi.V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
}

// buffer describes the buffer with an index for a request.
func (q *queue) buffer(index int) uapi.Buffer {
	return uapi.Buffer{Index: uint32(index), Type: q.typ, Memory: uapi.V4L2_MEMORY_MMAP}
}

// maxBuffers is more than drivers have in a queue (VIDEO_MAX_FRAME, which is 32).
const maxBuffers = 64

// request gets about count buffers from the driver, which may want more, and maps them into memory.
func (q *queue) request(count int) error {
	q.requested = true
	req := uapi.RequestBuffers{Count: uint32(count), Type: q.typ, Memory: uapi.V4L2_MEMORY_MMAP}
	if err := q.device.ioctl(uapi.VIDIOC_REQBUFS, unsafe.Pointer(&req)); err != nil {
		return err
	}
	for i := range int(min(req.Count, maxBuffers)) {
		b := q.buffer(i)
		if err := q.bufferIoctl(uapi.VIDIOC_QUERYBUF, &b); err != nil {
			return err
		}
		if err := q.mapBuffer(&b); err != nil {
			return err
		}
	}
	return nil
}

// mapBuffer maps the planes of a buffer, which VIDIOC_QUERYBUF has described.
func (q *queue) mapBuffer(b *uapi.Buffer) error {
	planes := []uapi.Plane{{MemOffset: b.Offset, Length: b.Length}}
	if q.mplane() {
		planes = q.planes[:min(b.Length, uapi.VIDEO_MAX_PLANES)]
	}
	q.mapped = append(q.mapped, nil)
	last := &q.mapped[len(q.mapped)-1]
	for _, p := range planes {
		mapped, err := q.device.kernel.Mmap(q.device.fd, int64(p.MemOffset), int(p.Length))
		if err != nil {
			return err
		}
		*last = append(*last, mapped)
	}
	return nil
}

// release stops the queues that have buffers, and gives the buffers back.
func release(queues ...*queue) error {
	var errs []error
	for _, q := range queues {
		if q.requested {
			errs = append(errs, q.device.ioctl(uapi.VIDIOC_STREAMOFF, unsafe.Pointer(&q.typ)))
		}
	}
	for _, q := range queues {
		for _, buffer := range q.mapped {
			for _, plane := range buffer {
				errs = append(errs, q.device.kernel.Munmap(plane))
			}
		}
		q.mapped = nil
	}
	for _, q := range queues {
		if q.requested {
			none := uapi.RequestBuffers{Type: q.typ, Memory: uapi.V4L2_MEMORY_MMAP}
			errs = append(errs, q.device.ioctl(uapi.VIDIOC_REQBUFS, unsafe.Pointer(&none)))
		}
		q.requested = false
	}
	return errors.Join(errs...)
}

func (q *queue) streamOn() error {
	return q.device.ioctl(uapi.VIDIOC_STREAMON, unsafe.Pointer(&q.typ))
}

// dequeue takes a buffer that the driver is done with. It returns unix.EAGAIN if there is none.
func (q *queue) dequeue(b *Buffer) error {
	*b = Buffer{raw: q.buffer(0)}
	if err := q.bufferIoctl(uapi.VIDIOC_DQBUF, &b.raw); err != nil {
		return err
	}
	if int64(b.raw.Index) >= int64(len(q.mapped)) {
		return errNotOurs
	}
	mapped := q.mapped[b.raw.Index]
	for i, m := range mapped {
		first, end := uint32(0), b.raw.BytesUsed
		if q.mplane() {
			first, end = q.planes[i].DataOffset, q.planes[i].BytesUsed
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

// enqueue gives a buffer to the driver. Of one that the driver reads, used are the bytes in
// each plane.
func (q *queue) enqueue(b *uapi.Buffer, used ...int) error {
	return q.bufferIoctl(uapi.VIDIOC_QBUF, b, used...)
}

// bufferIoctl makes a request about a buffer, in the layout that the kernel has for it: on
// 32 bits there are two. The kernel reads and writes q.planes through a pointer that is a
// number to Go, so a Pinner keeps it in place.
func (q *queue) bufferIoctl(request uintptr, b *uapi.Buffer, used ...int) error {
	if q.mplane() {
		var pin runtime.Pinner
		defer pin.Unpin()
		pin.Pin(&q.planes)
		clear(q.planes[:])
		for i, n := range used {
			q.planes[i].BytesUsed = uint32(n)
		}
		b.Offset, b.Length = uintptr(unsafe.Pointer(&q.planes)), uapi.VIDEO_MAX_PLANES
	} else if len(used) > 0 {
		b.BytesUsed = uint32(used[0])
	}
	d := q.device
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

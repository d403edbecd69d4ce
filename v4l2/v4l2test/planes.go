//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"slices"
	"unsafe"

	"porthole/v4l2/uapi"
)

// mplane reports whether the camera has the requests for several planes of memory, and no
// others.
func (c *Camera) mplane() bool {
	return c.DeviceCaps&(uapi.V4L2_CAP_VIDEO_CAPTURE|uapi.V4L2_CAP_VIDEO_CAPTURE_MPLANE) == uapi.V4L2_CAP_VIDEO_CAPTURE_MPLANE
}

// planes returns how many planes of memory a buffer has.
func (c *Camera) planes() int {
	if c.mplane() {
		return len(c.Strides)
	}
	return 1
}

// plane returns the memory of a plane of a buffer.
func (c *Camera) plane(buffer uint32, n int) []byte {
	return c.memory[int(buffer)*c.planes()+n]
}

// bufType is the type of buffer that requests must be about.
func (c *Camera) bufType() uint32 {
	if c.mplane() {
		return uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
	}
	return uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE
}

// bufType returns the type of buffer that a request is about; ok is false if it is about none.
func bufType(request uintptr, arg unsafe.Pointer) (typ uint32, ok bool) {
	switch request {
	case uapi.VIDIOC_ENUM_FMT:
		return (*uapi.FmtDesc)(arg).Type, true
	case uapi.VIDIOC_G_FMT, uapi.VIDIOC_S_FMT:
		return (*uapi.Format)(arg).Type, true
	case uapi.VIDIOC_G_PARM, uapi.VIDIOC_S_PARM:
		return (*uapi.StreamParm)(arg).Type, true
	case uapi.VIDIOC_REQBUFS:
		return (*uapi.RequestBuffers)(arg).Type, true
	case uapi.VIDIOC_QUERYBUF, uapi.VIDIOC_QBUF, uapi.VIDIOC_DQBUF:
		return (*uapi.Buffer)(arg).Type, true
	case uapi.VIDIOC_STREAMON, uapi.VIDIOC_STREAMOFF:
		return *(*uint32)(arg), true
	}
	return 0, false
}

// putFormat puts the format that is set into f.
func (c *Camera) putFormat(f *uapi.Format) {
	if !c.mplane() {
		f.Pix = c.Pix
		return
	}
	m := f.Mplane()
	*m = uapi.PixFormatMplane{
		Width: c.Pix.Width, Height: c.Pix.Height, PixelFormat: c.Pix.PixelFormat,
		Colorspace: c.Pix.Colorspace, Quantization: uint8(c.Pix.Quantization), NumPlanes: uint8(len(c.Strides)),
	}
	for i, stride := range c.Strides {
		m.Planes[i] = uapi.PlanePixFormat{SizeImage: c.BufferSize, BytesPerLine: stride}
	}
}

// Planes returns the planes of memory that b points to.
func Planes(b *uapi.Buffer) []uapi.Plane {
	first := *(**uapi.Plane)(unsafe.Pointer(&b.Offset))
	return unsafe.Slice(first, b.Length)
}

// describe says where the memory of a buffer is: see Mmap.
func (c *Camera) describe(b *uapi.Buffer) {
	at := uintptr(b.Index) * uintptr(c.planes()) << 16
	if !c.mplane() {
		b.Offset, b.Length = at, c.BufferSize
		return
	}
	b.Length = uint32(c.planes())
	for i := range Planes(b) {
		Planes(b)[i] = uapi.Plane{MemOffset: at + uintptr(i)<<16, Length: c.BufferSize}
	}
}

// fill puts the next picture into the first buffer that is queued.
func (c *Camera) fill(b *uapi.Buffer) {
	picture := c.ready[0]
	c.ready = c.ready[1:]
	b.Index = c.Queued[0]
	c.Queued = slices.Delete(c.Queued, 0, 1)
	used := uint32(copy(c.plane(b.Index, 0), picture.Data))
	if c.mplane() {
		b.Length = uint32(c.planes())
		planes := Planes(b)
		planes[0] = uapi.Plane{BytesUsed: used, Length: c.BufferSize}
		for i, data := range picture.More {
			used := uint32(copy(c.plane(b.Index, i+1), data))
			planes[i+1] = uapi.Plane{BytesUsed: used, Length: c.BufferSize}
		}
	} else {
		b.BytesUsed, b.Length = used, c.BufferSize
	}
	if picture.Change != nil {
		picture.Change(b)
	}
}

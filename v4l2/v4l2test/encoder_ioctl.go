//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// codedOffset is where the memory of coded pictures is, for Mmap.
const codedOffset = 1 << 20

func (e *Encoder) serve(c *encoderContext, request uintptr, arg unsafe.Pointer) error {
	typ, _ := bufType(request, arg)
	f := &c.coded
	if typ == uapi.V4L2_BUF_TYPE_VIDEO_OUTPUT || typ == uapi.V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE {
		f = &c.raw
	}
	if typ != 0 && (typ >= uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE) == e.Single {
		return unix.EINVAL
	}
	switch request {
	case uapi.VIDIOC_QUERYCAP:
		caps := (*uapi.Capability)(arg)
		copy(caps.Driver[:], e.Driver)
		copy(caps.Card[:], e.Driver)
		caps.Capabilities = uapi.V4L2_CAP_VIDEO_M2M_MPLANE | uapi.V4L2_CAP_STREAMING
		if e.Single {
			caps.Capabilities = uapi.V4L2_CAP_VIDEO_M2M | uapi.V4L2_CAP_STREAMING
		}
	case uapi.VIDIOC_ENUM_FMT:
		formats := e.Coded
		if f == &c.raw {
			formats = e.Raw
		}
		desc := (*uapi.FmtDesc)(arg)
		if int(desc.Index) >= len(formats) {
			return unix.EINVAL
		}
		desc.PixelFormat = fourCC(formats[desc.Index])
	case uapi.VIDIOC_QUERY_EXT_CTRL, uapi.VIDIOC_S_EXT_CTRLS:
		return e.serveControl(request, arg)
	case uapi.VIDIOC_S_FMT:
		e.setFormat(c, f, (*uapi.Format)(arg))
	case uapi.VIDIOC_S_SELECTION:
		s := (*uapi.Selection)(arg)
		c.crop = [2]uint32{s.Width, s.Height}
	case uapi.VIDIOC_S_PARM:
		interval := (*uapi.StreamParm)(arg).Capture.TimePerFrame
		if interval.Numerator == 0 {
			return unix.EINVAL
		}
		e.Rate = float64(interval.Denominator) / float64(interval.Numerator)
	case uapi.VIDIOC_REQBUFS:
		f.memory = nil
		if (*uapi.RequestBuffers)(arg).Count > 0 {
			(*uapi.RequestBuffers)(arg).Count = 1
			for i := range f.NumPlanes {
				f.memory = append(f.memory, make([]byte, f.Planes[i].SizeImage))
			}
		}
	case uapi.VIDIOC_STREAMON, uapi.VIDIOC_STREAMOFF:
		f.streaming, f.queued, f.done = request == uapi.VIDIOC_STREAMON, f.queued && request == uapi.VIDIOC_STREAMON, false
	default:
		return e.serveBuffer(c, f, request, (*uapi.Buffer)(arg))
	}
	return nil
}

// serveControl serves the control of the quality or of the bit rate.
func (e *Encoder) serveControl(request uintptr, arg unsafe.Pointer) error {
	id, limits := uint32(uapi.V4L2_CID_JPEG_COMPRESSION_QUALITY), e.Quality
	if limits[1] == 0 {
		id, limits = uapi.V4L2_CID_MPEG_VIDEO_BITRATE, [2]int64{25_000, 25_000_000}
	}
	if request == uapi.VIDIOC_S_EXT_CTRLS {
		one := (*uapi.ExtControls)(arg).Controls
		e.Value = int64(one.Value[0])
		if one.ID != id || e.Value < limits[0] || e.Value > limits[1] {
			return unix.ERANGE
		}
		return nil
	}
	q := (*uapi.QueryExtCtrl)(arg)
	if q.ID != id {
		return unix.EINVAL
	}
	q.Minimum, q.Maximum, q.Step = limits[0], limits[1], 1
	return nil
}

// setFormat grants a format: raw pictures of at most the largest size, with rows and row lengths
// rounded up.
func (e *Encoder) setFormat(c *encoderContext, f *format, asked *uapi.Format) {
	f.PixFormatMplane = *asked.Mplane()
	if e.Single {
		f.PixFormatMplane = uapi.PixFormatMplane{
			Width: asked.Pix.Width, Height: asked.Pix.Height, PixelFormat: asked.Pix.PixelFormat,
		}
		f.Planes[0].SizeImage = asked.Pix.SizeImage
	}
	f.Width, f.Height = min(f.Width, e.Largest), min(f.Height, e.Largest)
	if f == &c.raw {
		if !slices.Contains(e.Raw, letters(f.PixelFormat)) {
			f.PixelFormat = fourCC(e.Raw[0])
		}
		c.crop = [2]uint32{f.Width, f.Height}
		f.name = letters(f.PixelFormat)
		e.layOut(f)
	} else {
		if !slices.Contains(e.Coded, letters(f.PixelFormat)) {
			f.PixelFormat = fourCC("H264")
		}
		f.NumPlanes = 1
		f.Planes[0].SizeImage = max(f.Planes[0].SizeImage, e.CodedSize)
	}
	if !e.Single {
		*asked.Mplane() = f.PixFormatMplane
		return
	}
	asked.Pix.Width, asked.Pix.Height, asked.Pix.PixelFormat = f.Width, f.Height, f.PixelFormat
	asked.Pix.BytesPerLine, asked.Pix.SizeImage = f.Planes[0].BytesPerLine, f.Planes[0].SizeImage
}

func letters(format uint32) string {
	return string([]byte{byte(format), byte(format >> 8), byte(format >> 16), byte(format >> 24)})
}

// layOut sets the planes of raw pictures.
func (e *Encoder) layOut(f *format) {
	f.Height = (f.Height + e.Rows - 1) / e.Rows * e.Rows
	bytes := map[string]uint32{"YUYV": 2, "UYVY": 2, "RGB3": 3, "BGR3": 3}[letters(f.PixelFormat)]
	stride := (f.Width*max(bytes, 1) + e.Stride - 1) / e.Stride * e.Stride
	luma := stride * f.Height
	f.NumPlanes = 1
	f.Planes[0] = uapi.PlanePixFormat{BytesPerLine: stride, SizeImage: luma}
	switch letters(f.PixelFormat) {
	case "YU12", "YV12", "NV12", "NV21":
		f.Planes[0].SizeImage = luma * 3 / 2
	case "NM12":
		f.NumPlanes = 2
		f.Planes[1] = uapi.PlanePixFormat{BytesPerLine: stride, SizeImage: luma / 2}
	case "YM12":
		f.NumPlanes = 3
		f.Planes[1] = uapi.PlanePixFormat{BytesPerLine: stride / 2, SizeImage: luma / 4}
		f.Planes[2] = f.Planes[1]
	}
}

// serveBuffer serves requests about the buffer of a direction.
func (e *Encoder) serveBuffer(c *encoderContext, f *format, request uintptr, b *uapi.Buffer) error {
	if b.Index > 0 || len(f.memory) == 0 {
		return unix.EINVAL
	}
	switch request {
	case uapi.VIDIOC_QUERYBUF:
		at := uintptr(0)
		if f == &c.coded {
			at = codedOffset
		}
		if e.Single {
			b.Offset, b.Length = at, uint32(len(f.memory[0]))
			return nil
		}
		for i, memory := range f.memory {
			Planes(b)[i] = uapi.Plane{MemOffset: at + uintptr(i)<<12, Length: uint32(len(memory))}
		}
		b.Length = uint32(len(f.memory))
	case uapi.VIDIOC_QBUF:
		return e.queue(c, f, b)
	case uapi.VIDIOC_DQBUF:
		if !f.streaming {
			return unix.EINVAL
		}
		if !f.done {
			return unix.EAGAIN
		}
		f.done = false
		b.Timestamp, b.Flags = f.stamp, uapi.V4L2_BUF_FLAG_TIMESTAMP_COPY|f.flags
		if e.Single {
			b.BytesUsed, b.Length = f.used, uint32(len(f.memory[0]))
			return nil
		}
		b.Length = uint32(len(f.memory))
		for i := range f.memory {
			Planes(b)[i].BytesUsed = f.used
		}
	default:
		return unix.ENOTTY
	}
	return nil
}

// queue takes a buffer, and encodes when there is one of each kind.
func (e *Encoder) queue(c *encoderContext, f *format, b *uapi.Buffer) error {
	if f.queued || f.done {
		return unix.EINVAL
	}
	if f == &c.raw {
		used := b.BytesUsed
		if !e.Single {
			used = Planes(b)[0].BytesUsed
		}
		if used != f.Planes[0].SizeImage || b.Field != uapi.V4L2_FIELD_NONE {
			return unix.EINVAL
		}
		f.stamp = b.Timestamp
	}
	f.queued = true
	if c.raw.queued && c.coded.queued && c.raw.streaming && c.coded.streaming {
		e.encode(c)
	}
	return nil
}

func (e *Encoder) encode(c *encoderContext) {
	if c.late != nil {
		c.coded.used = uint32(copy(c.coded.memory[0], c.late))
		c.coded.stamp, c.coded.flags, c.coded.queued, c.coded.done = unix.Timeval{}, 0, false, true
		c.late = nil
		return
	}
	e.count++
	raw := &c.raw
	p := RawPicture{
		PixelFormat: raw.name, Width: int(c.crop[0]), Height: int(c.crop[1]), Rows: int(raw.Height),
		Planes: raw.memory, Quality: e.Value,
	}
	for i := range p.Strides {
		p.Strides[i] = int(raw.Planes[i].BytesPerLine)
	}
	data, flags, ok := e.JPEG(p), uint32(0), true
	if e.Answer != nil {
		data, flags, ok = e.Answer(e.count, data)
	}
	if !ok {
		return
	}
	c.coded.used = uint32(copy(c.coded.memory[0], data))
	c.coded.stamp, c.coded.flags = raw.stamp, flags
	c.raw.queued, c.coded.queued = false, false
	c.raw.done, c.coded.done = true, true
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
)

func (c *Camera) Ioctl(_ int, request uintptr, arg unsafe.Pointer) error {
	if c.Time64 {
		for _, narrow := range []uintptr{uapi.VIDIOC_QUERYBUF, uapi.VIDIOC_QBUF, uapi.VIDIOC_DQBUF} {
			switch request {
			case narrow:
				return unix.ENOTTY
			case uapi.Time64Request(narrow):
				return c.ioctlTime64(narrow, (*uapi.BufferTime64)(arg))
			}
		}
	}
	return c.ioctlNarrow(request, arg)
}

// ioctlTime64 serves a request with the wide structure as if it had the other one.
func (c *Camera) ioctlTime64(request uintptr, w *uapi.BufferTime64) error {
	var b uapi.Buffer
	w.Get(&b)
	if err := c.ioctlNarrow(request, unsafe.Pointer(&b)); err != nil {
		return err
	}
	w.Set(&b)
	w.Seconds, w.Micros = int64(b.Timestamp.Sec), int64(b.Timestamp.Usec)
	return nil
}

func (c *Camera) ioctlNarrow(request uintptr, arg unsafe.Pointer) error {
	name := strings.TrimPrefix(uapi.RequestName(request), "VIDIOC_")
	call := name
	if request == uapi.VIDIOC_REQBUFS {
		call = fmt.Sprint(name, " ", (*uapi.RequestBuffers)(arg).Count)
	}
	err := c.note(call)
	if err == nil {
		c.mu.Lock()
		err = c.serve(request, arg)
		c.mu.Unlock()
	}
	if err == nil || err == unix.EAGAIN {
		return err
	}
	return os.NewSyscallError("ioctl(VIDIOC_"+name+")", err)
}

func (c *Camera) serve(request uintptr, arg unsafe.Pointer) error {
	if typ, ok := bufType(request, arg); ok && typ != c.bufType() {
		return unix.EINVAL
	}
	switch request {
	case uapi.VIDIOC_QUERYCAP:
		caps := (*uapi.Capability)(arg)
		copy(caps.Card[:], c.Card)
		copy(caps.Driver[:], c.Driver)
		copy(caps.BusInfo[:], c.BusInfo)
		caps.Capabilities, caps.DeviceCaps = c.Capabilities, c.DeviceCaps
	case uapi.VIDIOC_ENUM_FMT, uapi.VIDIOC_ENUM_FRAMESIZES, uapi.VIDIOC_ENUM_FRAMEINTERVALS:
		return c.serveList(request, arg)
	case uapi.VIDIOC_G_FMT, uapi.VIDIOC_S_FMT, uapi.VIDIOC_G_PARM, uapi.VIDIOC_S_PARM:
		return c.serveFormat(request, arg)
	case uapi.VIDIOC_SUBSCRIBE_EVENT, uapi.VIDIOC_G_INPUT, uapi.VIDIOC_S_INPUT:
	case uapi.VIDIOC_QUERY_DV_TIMINGS, uapi.VIDIOC_S_DV_TIMINGS, uapi.VIDIOC_QUERYSTD, uapi.VIDIOC_S_STD:
		return c.serveSignal(request, arg)
	case uapi.VIDIOC_STREAMON:
		c.streaming = true
		c.due = time.Now().Add(c.Startup)
	case uapi.VIDIOC_STREAMOFF:
		c.streaming, c.Queued = false, nil
	case uapi.VIDIOC_QUERY_EXT_CTRL, uapi.VIDIOC_QUERYCTRL, uapi.VIDIOC_QUERYMENU, uapi.VIDIOC_G_EXT_CTRLS, uapi.VIDIOC_S_EXT_CTRLS:
		return c.serveControls(request, arg)
	default:
		return c.serveBuffers(request, arg)
	}
	return nil
}

func (c *Camera) serveList(request uintptr, arg unsafe.Pointer) error {
	switch request {
	case uapi.VIDIOC_ENUM_FMT:
		desc := (*uapi.FmtDesc)(arg)
		if c.EndlessLists {
			desc.PixelFormat = fourCC("MJPG")
			return nil
		}
		if int(desc.Index) >= len(c.Formats) {
			return unix.EINVAL
		}
		desc.PixelFormat = fourCC(c.Formats[desc.Index])
	case uapi.VIDIOC_ENUM_FRAMESIZES:
		size := (*uapi.FrmSizeEnum)(arg)
		if c.EndlessLists {
			size.Type, size.Width, size.Height = uapi.V4L2_FRMSIZE_TYPE_DISCRETE, 640, 480
			return nil
		}
		if c.Largest != [2]uint32{} && size.Index == 0 {
			size.Type = 3                              // V4L2_FRMSIZE_TYPE_STEPWISE
			size.Width, size.Height = 32, c.Largest[0] // these are the least and the most width
			return nil
		}
		if int(size.Index) >= len(c.Sizes) {
			return unix.EINVAL
		}
		size.Type = uapi.V4L2_FRMSIZE_TYPE_DISCRETE
		size.Width, size.Height = c.Sizes[size.Index][0], c.Sizes[size.Index][1]
	case uapi.VIDIOC_ENUM_FRAMEINTERVALS:
		ival := (*uapi.FrmIvalEnum)(arg)
		if c.EndlessLists {
			ival.Type, ival.Interval = uapi.V4L2_FRMIVAL_TYPE_DISCRETE, uapi.Fract{Numerator: 1, Denominator: 30}
			return nil
		}
		if int(ival.Index) >= len(c.Intervals) {
			return unix.EINVAL
		}
		ival.Type, ival.Interval = uapi.V4L2_FRMIVAL_TYPE_DISCRETE, c.Intervals[ival.Index]
	}
	return nil
}

func fourCC(letters string) uint32 { return uint32(v4l2.MakeFourCC(letters)) }

func (c *Camera) serveFormat(request uintptr, arg unsafe.Pointer) error {
	switch request {
	case uapi.VIDIOC_S_FMT:
		if len(c.memory) > 0 {
			return unix.EBUSY
		}
		pix := &(*uapi.Format)(arg).Pix
		if c.Refuse != nil && c.Refuse(pix) {
			return unix.EINVAL
		}
		pix.BytesPerLine = 2 * pix.Width // what YUYV has
		pix.Priv, pix.Colorspace = uapi.V4L2_PIX_FMT_PRIV_MAGIC, uapi.V4L2_COLORSPACE_JPEG
		if c.Grant != nil {
			c.Grant(pix)
		}
		c.Pix = *pix
		c.putFormat((*uapi.Format)(arg))
	case uapi.VIDIOC_G_FMT:
		c.putFormat((*uapi.Format)(arg))
	case uapi.VIDIOC_G_PARM:
		(*uapi.StreamParm)(arg).Capture = c.Parm
	case uapi.VIDIOC_S_PARM:
		c.Parm.TimePerFrame = (*uapi.StreamParm)(arg).Capture.TimePerFrame
		if c.Slowest.Numerator != 0 {
			c.Parm.TimePerFrame = c.Slowest
		}
		(*uapi.StreamParm)(arg).Capture = c.Parm
	}
	return nil
}

func (c *Camera) serveSignal(request uintptr, arg unsafe.Pointer) error {
	hdmi, analog := c.DVTimings != uapi.DVTimings{}, c.Std != uapi.Std{}
	switch {
	case request == uapi.VIDIOC_QUERY_DV_TIMINGS && hdmi:
		*(*uapi.DVTimings)(arg) = c.DVTimings
	case request == uapi.VIDIOC_S_DV_TIMINGS && hdmi:
		c.SetDVTimings = *(*uapi.DVTimings)(arg)
	case request == uapi.VIDIOC_QUERYSTD && analog:
		*(*uapi.Std)(arg) = c.Std
	case request == uapi.VIDIOC_S_STD && analog:
		c.SetStd = *(*uapi.Std)(arg)
	case hdmi || analog:
		return unix.ENODATA // not of this input
	default:
		return unix.ENOTTY
	}
	return nil
}

func (c *Camera) serveBuffers(request uintptr, arg unsafe.Pointer) error {
	if request == uapi.VIDIOC_REQBUFS {
		req := (*uapi.RequestBuffers)(arg)
		if c.Mapped > 0 {
			return unix.EBUSY
		}
		req.Count = min(req.Count, c.MaxBuffers)
		c.memory, c.Queued = nil, nil
		for range int(req.Count) * c.planes() {
			c.memory = append(c.memory, make([]byte, c.BufferSize))
		}
		return nil
	}
	b := (*uapi.Buffer)(arg)
	if c.mplane() && (b.Offset == 0 || int(b.Length) < c.planes()) {
		return unix.EINVAL
	}
	switch request {
	case uapi.VIDIOC_QUERYBUF:
		c.describe(b)
	case uapi.VIDIOC_QBUF:
		if int64(b.Index) >= int64(len(c.memory)/c.planes()) || slices.Contains(c.Queued, b.Index) {
			return unix.EINVAL
		}
		c.Queued = append(c.Queued, b.Index)
		for i := range c.planes() {
			clear(c.plane(b.Index, i)) // the next picture comes at any time
		}
	case uapi.VIDIOC_DQBUF:
		if !c.streaming {
			return unix.EINVAL
		}
		if len(c.ready) == 0 || len(c.Queued) == 0 {
			return unix.EAGAIN
		}
		c.fill(b)
	}
	return nil
}

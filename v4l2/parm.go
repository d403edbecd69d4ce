//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"math"
	"unsafe"

	"porthole/v4l2/uapi"
)

// A Fract is a fraction, mostly of a second: struct v4l2_fract. The time between two
// frames of NTSC is {1001, 30000}.
type Fract struct{ Numerator, Denominator uint32 }

// Rate returns the rate of frames that are f seconds apart, in frames per second; 0 if f is
// no time.
func (f Fract) Rate() float64 {
	if f.Numerator == 0 {
		return 0
	}
	return float64(f.Denominator) / float64(f.Numerator)
}

// EnumFrameIntervals lists the times between frames that the device has in a format and
// size (VIDIOC_ENUM_FRAMEINTERVALS). The list is empty if there are too many to list, or
// if the driver does not tell.
func (d *Device) EnumFrameIntervals(format FourCC, size FrameSize) (intervals []Fract) {
	for i := range uint32(maxIntervals) {
		ival := uapi.FrmIvalEnum{Index: i, PixelFormat: uint32(format), Width: uint32(size.Width), Height: uint32(size.Height)}
		err := d.ioctl(uapi.VIDIOC_ENUM_FRAMEINTERVALS, unsafe.Pointer(&ival))
		if err != nil || ival.Type != uapi.V4L2_FRMIVAL_TYPE_DISCRETE {
			break
		}
		intervals = append(intervals, Fract(ival.Interval))
	}
	return intervals
}

// NearestInterval returns the one of intervals whose rate is nearest to fps, in frames per
// second, and of two as near the shorter. Without any it makes one.
func NearestInterval(intervals []Fract, fps float64) Fract {
	nearest := Fract{1000, uint32(math.Round(1000 * fps))}
	least := math.Inf(1)
	for _, f := range intervals {
		apart := math.Abs(f.Rate() - fps)
		if apart < least || apart == least && f.Rate() > nearest.Rate() {
			least, nearest = apart, f
		}
	}
	return nearest
}

// A CaptureParm tells how fast a device captures: struct v4l2_captureparm.
type CaptureParm struct {
	TimePerFrame Fract // seconds
	Settable     bool  // TimePerFrame can be set (V4L2_CAP_TIMEPERFRAME)

	raw uapi.CaptureParm
}

// Parm returns how fast the device captures (VIDIOC_G_PARM). ENOTTY and EINVAL say that it
// has one rate and does not tell which.
func (d *Device) Parm() (CaptureParm, error) {
	p := uapi.StreamParm{Type: d.capture.typ}
	err := d.ioctl(uapi.VIDIOC_G_PARM, unsafe.Pointer(&p))
	return newCaptureParm(p.Capture), err
}

// SetParm asks for the time per frame in p, which Parm returned, and returns what the
// driver grants (VIDIOC_S_PARM).
func (d *Device) SetParm(p CaptureParm) (CaptureParm, error) {
	raw := uapi.StreamParm{Type: d.capture.typ, Capture: p.raw}
	raw.Capture.TimePerFrame = uapi.Fract(p.TimePerFrame)
	err := d.ioctl(uapi.VIDIOC_S_PARM, unsafe.Pointer(&raw))
	return newCaptureParm(raw.Capture), err
}

func newCaptureParm(raw uapi.CaptureParm) CaptureParm {
	return CaptureParm{
		TimePerFrame: Fract(raw.TimePerFrame),
		Settable:     raw.Capability&uapi.V4L2_CAP_TIMEPERFRAME != 0,
		raw:          raw,
	}
}

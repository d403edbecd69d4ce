//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"unsafe"

	"porthole/v4l2/uapi"
)

// A receiver of HDMI or analog television measures the signal that comes in, but goes on
// with the one that it was set to last. The size of the picture follows from that.

// DVTimings describe a signal of HDMI or the like: struct v4l2_dv_timings.
type DVTimings = uapi.DVTimings

// QueryDVTimings measures the digital signal (VIDIOC_QUERY_DV_TIMINGS). ENOLINK says that
// there is none, ENOLCK that it is not steady, and ERANGE that the receiver cannot take
// it. ENOTTY, ENODATA and EINVAL say that the input is not a digital one.
func (d *Device) QueryDVTimings() (DVTimings, error) {
	var t DVTimings
	err := d.ioctl(uapi.VIDIOC_QUERY_DV_TIMINGS, unsafe.Pointer(&t))
	return t, err
}

// SetDVTimings sets the digital signal to receive (VIDIOC_S_DV_TIMINGS).
func (d *Device) SetDVTimings(t DVTimings) error {
	return d.ioctl(uapi.VIDIOC_S_DV_TIMINGS, unsafe.Pointer(&t))
}

// Std is a set of standards of analog television, PAL-B and so on: v4l2_std_id. It is
// zero if there are none in it.
type Std = uapi.Std

// QueryStd measures the standard of the analog signal (VIDIOC_QUERYSTD). The result is
// zero if the receiver does not know yet, or has no signal.
func (d *Device) QueryStd() (Std, error) {
	var s Std
	err := d.ioctl(uapi.VIDIOC_QUERYSTD, unsafe.Pointer(&s))
	return s, err
}

// SetStd sets the standard to receive (VIDIOC_S_STD).
func (d *Device) SetStd(s Std) error {
	return d.ioctl(uapi.VIDIOC_S_STD, unsafe.Pointer(&s))
}

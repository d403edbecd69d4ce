//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A Device is an open video node. One goroutine may dequeue and queue buffers while
// another one uses controls; nothing else may happen at the same time.
type Device struct {
	kernel Kernel
	fd     int
	path   string

	// See buffer.go.
	capture  queue
	watcher  Watcher // nil until the device streams
	waiting  *Buffer // what Dequeue is to fill
	dequeued error   // what came of it
	try      func(fd uintptr) bool

	// Some 32-bit kernels want uapi.BufferTime64, which is here because it would be
	// allocated for each call otherwise.
	time64 bool
	wide   uapi.BufferTime64
}

// Open opens the video node at path. It fails with the errno of open(2).
func Open(k Kernel, path string) (*Device, error) {
	fd, err := k.Open(path)
	if err != nil {
		return nil, err
	}
	d := &Device{kernel: k, fd: fd, path: path}
	d.capture = queue{device: d, typ: uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE}
	return d, nil
}

// Path returns the path that the device was opened by.
func (d *Device) Path() string { return d.path }

// Close stops the device, gives its buffers back and closes it, whatever state it is in.
// A step that was left out would let the next opening fail with EBUSY, so no error stops
// it: it returns all of them.
func (d *Device) Close() error {
	return errors.Join(d.ReleaseBuffers(), d.close())
}

// ReleaseBuffers stops the device and gives the buffers back, if there are any. Nothing but Close
// and requests about controls may follow.
func (d *Device) ReleaseBuffers() error { return release(&d.capture) }

// close closes the device, whose buffers were given back.
func (d *Device) close() error {
	if d.watcher != nil {
		return d.watcher.Close()
	}
	return d.kernel.Close(d.fd)
}

// A Capability tells what a device is, and what it can do (VIDIOC_QUERYCAP).
type Capability struct {
	Driver  string // "uvcvideo"
	Card    string // "HD Webcam"
	BusInfo string // where it is connected: "usb-3f980000.usb-1.2"

	// Capabilities are those of this node, a set of CapVideoCapture and so on.
	Capabilities uint32
}

// Capabilities of a node.
const (
	CapVideoCapture       = uapi.V4L2_CAP_VIDEO_CAPTURE
	CapVideoCaptureMplane = uapi.V4L2_CAP_VIDEO_CAPTURE_MPLANE // in several planes of memory
	CapVideoM2M           = uapi.V4L2_CAP_VIDEO_M2M            // processes pictures from memory to memory
	CapVideoM2MMplane     = uapi.V4L2_CAP_VIDEO_M2M_MPLANE
	CapTouch              = uapi.V4L2_CAP_TOUCH // is a touch screen
	CapStreaming          = uapi.V4L2_CAP_STREAMING
)

// QueryCap makes VIDIOC_QUERYCAP. ENOTTY says that the device is not a video device. From
// here on, all requests are those for pictures in several planes of memory if the device has
// no others.
func (d *Device) QueryCap() (Capability, error) {
	var raw uapi.Capability
	if err := d.ioctl(uapi.VIDIOC_QUERYCAP, unsafe.Pointer(&raw)); err != nil {
		return Capability{}, err
	}
	c := Capability{
		Driver:       unix.ByteSliceToString(raw.Driver[:]),
		Card:         unix.ByteSliceToString(raw.Card[:]),
		BusInfo:      unix.ByteSliceToString(raw.BusInfo[:]),
		Capabilities: raw.Capabilities,
	}
	if raw.Capabilities&uapi.V4L2_CAP_DEVICE_CAPS != 0 {
		c.Capabilities = raw.DeviceCaps
	}
	if c.isMplane() {
		d.capture.typ = uapi.V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
	}
	return c, nil
}

// Has reports whether the node has one of these capabilities.
func (c Capability) Has(capabilities uint32) bool {
	return c.Capabilities&capabilities != 0
}

// isMplane reports whether the node has the multi-planar API and no other.
func (c Capability) isMplane() bool {
	return c.Has(CapVideoCaptureMplane|CapVideoM2MMplane) && !c.Has(CapVideoCapture|CapVideoM2M)
}

// IsCapture reports whether pictures come out of the node and none go in. Encoders and
// touch screens look like cameras otherwise.
func (c Capability) IsCapture() bool {
	return c.Has(CapVideoCapture|CapVideoCaptureMplane) && !c.Has(CapVideoM2M|CapVideoM2MMplane|CapTouch)
}

// Input returns the number of the selected input (VIDIOC_G_INPUT).
func (d *Device) Input() (int, error) {
	var input int32
	err := d.ioctl(uapi.VIDIOC_G_INPUT, unsafe.Pointer(&input))
	return int(input), err
}

// SetInput selects an input (VIDIOC_S_INPUT). Some receivers give no picture before that
// (em28xx, bttv, sunxi-vfe), even if the input was selected already.
func (d *Device) SetInput(input int) error {
	n := int32(input)
	return d.ioctl(uapi.VIDIOC_S_INPUT, unsafe.Pointer(&n))
}

// SubscribeSourceChange makes VIDIOC_SUBSCRIBE_EVENT for V4L2_EVENT_SOURCE_CHANGE, which
// receivers of HDMI send when another resolution comes in. Devices without that event
// fail with EINVAL or ENOTTY.
func (d *Device) SubscribeSourceChange() error {
	s := uapi.EventSubscription{Type: uapi.V4L2_EVENT_SOURCE_CHANGE}
	return d.ioctl(uapi.VIDIOC_SUBSCRIBE_EVENT, unsafe.Pointer(&s))
}

// EventPending reports whether an event has come, with poll(2).
func (d *Device) EventPending() (bool, error) {
	fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLPRI}}
	n, err := d.kernel.Poll(fds, 0)
	// A device that does not stream any more has all the events.
	return n > 0 && fds[0].Revents&(unix.POLLPRI|unix.POLLERR) == unix.POLLPRI, err
}

func (d *Device) ioctl(request uintptr, arg unsafe.Pointer) error {
	return d.kernel.Ioctl(d.fd, request, arg)
}

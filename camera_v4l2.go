//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// How many pictures the driver may have in hand: with fewer some get
	// lost while we are busy, more only take memory, 600 KB each at 640x480.
	// One we encode is ours for that long, and there two others will do.
	buffersJPEG = 4
	buffersRaw  = 3

	// settleV4L2 is how long exposure and white balance take to come right.
	// The first pictures are often dark or green.
	settleV4L2 = 500 * time.Millisecond
)

// firmwareDriver is the name of the driver for the camera that the firmware of a
// Raspberry Pi runs (bm2835-v4l2, in drivers/staging/vc04_services/bcm2835-camera).
const firmwareDriver = "bm2835 mmal"

// formatsWanted are the pixel formats we can use, the best first: JPEG comes
// from the camera ready to be sent, all others cost an encoding per picture.
var formatsWanted = []string{"MJPG", "JPEG", "YUYV", "UYVY", "NV12", "YU12", "GREY"}

func init() {
	register(driver{
		name:    "v4l2",
		rank:    20,
		settle:  settleV4L2,
		find:    findV4L2,
		open:    openV4L2,
		devices: videoNodes,
		hasTwin: func(info cameraInfo) bool { return hasTwin(linux{}, videoNodes(), info) },
	})
}

// v4l2Camera is a capture node of the kernel's Video4Linux2 that streams
// through memory-mapped buffers.
type v4l2Camera struct {
	kernel  kernel
	fd      int
	path    string
	info    cameraInfo
	formats []string      // that we take, the best first
	pix     v4l2PixFormat // granted
	encoder *encoder      // nil when the camera sends JPEG
	buffers [][]byte
	time64  bool // buffers are v4l2BufferTime64

	assignments []assignment // of controls, by -set
	steadyRate  bool         // at the cost of brightness
	remarks     []string     // about what the driver refused when it was opened

	// How long a picture may take follows from what is known of the camera.
	exposure atomic.Int64  // that is set, nanoseconds; 0: not known
	longest  time.Duration // between two pictures, of late
	last     time.Time     // when the last picture came; zero before the first

	// Set when streaming starts: the same moment on two clocks, of which
	// one is the driver's.
	streaming bool
	wall      time.Time
	monotonic time.Duration

	passedOver int // damaged pictures that were not reported yet

	// While it streams the node is watched, until this deadline.
	watcher  watcher
	deadline time.Time
	try      func(fd uintptr) bool // takes a picture into buffer, if there is one
	tried    error                 // what came of it

	// Arguments of the system calls made for each picture, here because
	// they would be allocated for each otherwise.
	buffer  v4l2Buffer // the picture in hand
	another v4l2Buffer // a newer one
	wide    v4l2BufferTime64
}

// openNode opens the video node at path and makes it ready to stream.
func openNode(k kernel, path string, want settings) (camera, error) {
	return openNodeAs(k, path, want, formatsWanted)
}

// openNodeAs is openNode for these formats.
func openNodeAs(k kernel, path string, want settings, formats []string) (camera, error) {
	fd, err := k.open(path)
	if err != nil {
		return nil, advise(path, err)
	}
	c := &v4l2Camera{kernel: k, fd: fd, path: path, formats: formats}
	if err := c.prepare(want); err != nil {
		c.Close()
		return nil, advise(path, err)
	}
	return c, nil
}

// prepare takes the steps from an open node to one that can stream. Their
// order matters: a format can't be set any more once there are buffers.
func (c *v4l2Camera) prepare(want settings) error {
	if err := c.checkCaps(); err != nil {
		return err
	}
	if err := c.selectInput(); err != nil {
		return err
	}
	if err := c.followSignal(); err != nil {
		return err
	}
	if err := c.setFormat(want); err != nil {
		return err
	}
	if err := c.setRate(want); err != nil {
		return err
	}
	if err := c.setGiven(want); err != nil {
		return err
	}
	if err := c.rereadFormat(want); err != nil {
		return err
	}
	c.subscribe()
	return c.mapBuffers()
}

// checkCaps makes sure that the node is a camera. Cameras have other nodes,
// for metadata; and encoders look like cameras at first sight.
func (c *v4l2Camera) checkCaps() error {
	var caps v4l2Capability
	if err := c.ioctl(vidiocQueryCap, unsafe.Pointer(&caps)); err != nil {
		if errors.Is(err, unix.ENOTTY) {
			return notFoundError("not a video device")
		}
		return err
	}
	can := caps.caps()
	if !caps.isCapture() {
		return notFoundError("not a camera but another kind of video device")
	}
	if can&capVideoCapture == 0 {
		return noPictureError("its pictures come in several planes (V4L2_CAP_VIDEO_CAPTURE_MPLANE), which porthole cannot take yet")
	}
	if can&capStreaming == 0 {
		return errors.New("this camera cannot stream (V4L2_CAP_STREAMING)")
	}
	c.info.Name = caps.name()
	c.info.Driver = caps.driverName()
	c.info.Device = c.path
	c.info.bus = caps.bus()
	return nil
}

// selectInput selects the input that is selected: some receivers give no picture
// before (em28xx, bttv, sunxi-vfe). Cameras have only one, and some do not know
// the requests.
func (c *v4l2Camera) selectInput() error {
	var input int32
	if c.ioctl(vidiocGInput, unsafe.Pointer(&input)) != nil {
		return nil
	}
	return c.optional(c.ioctl(vidiocSInput, unsafe.Pointer(&input)), "its input stays as it is")
}

// optional turns an error of a request that the camera can do without into a
// remark about what follows. It stays an error when the camera is gone.
func (c *v4l2Camera) optional(err error, cost string) error {
	if err == nil || errors.Is(err, unix.ENODEV) {
		return err
	}
	c.remarks = append(c.remarks, fmt.Sprintf("%s: %s: %v", c.path, cost, err))
	return nil
}

// setLog has the remarks heard.
func (c *v4l2Camera) setLog(hear func(line string)) {
	for _, remark := range c.remarks {
		hear(remark)
	}
}

// subscribe asks to be told when the source of the pictures changes: converters
// from HDMI do, when another resolution comes in. Most cameras have no such
// event and say EINVAL or ENOTTY.
func (c *v4l2Camera) subscribe() {
	s := v4l2EventSubscription{typ: eventSourceChange}
	c.ioctl(vidiocSubscribeEvent, unsafe.Pointer(&s))
}

// mapBuffers gets buffers from the driver, maps them and hands them back to be
// filled.
func (c *v4l2Camera) mapBuffers() error {
	req := v4l2RequestBuffers{count: buffersJPEG, typ: bufTypeVideoCapture, memory: memoryMmap}
	if c.encoder != nil {
		req.count = buffersRaw
	}
	if err := c.ioctl(vidiocReqBufs, unsafe.Pointer(&req)); err != nil {
		return err
	}
	for i := range req.count {
		b := v4l2Buffer{index: i, typ: bufTypeVideoCapture, memory: memoryMmap}
		if err := c.bufferIoctl(vidiocQueryBuf, &b); err != nil {
			return err
		}
		mapped, err := c.kernel.mmap(c.fd, int64(b.offset), int(b.length))
		if err != nil {
			return err
		}
		c.buffers = append(c.buffers, mapped)
		if err := c.requeue(&b); err != nil {
			return err
		}
	}
	if len(c.buffers) == 0 {
		return &advisedError{"the driver has no memory for pictures: try a smaller -size", nil}
	}
	return nil
}

// streamOn turns the camera on, and the lamp that many have. The first Capture
// does it, not the opening: that is also for a look at what there is.
func (c *v4l2Camera) streamOn() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	c.wall, c.monotonic = time.Now(), time.Duration(now.Nano())
	typ := int32(bufTypeVideoCapture)
	if err := c.ioctl(vidiocStreamOn, unsafe.Pointer(&typ)); err != nil {
		return err
	}
	c.streaming = true
	var err error
	if c.watcher, err = c.kernel.watch(c.fd); err != nil {
		return err
	}
	c.try = func(uintptr) bool {
		c.tried = c.dequeue(&c.buffer)
		return c.tried != unix.EAGAIN
	}
	// Some cameras forget their controls when they start. What is refused now
	// was taken when the camera was opened, and is no reason to stop.
	c.applyControls()
	if value, err := c.getControl(control{id: cidExposureAbsolute}); err == nil {
		c.noteExposure(value)
	}
	return nil
}

// Capture waits for a picture and appends the newest to dst. The driver has
// its buffer back before Capture returns.
func (c *v4l2Camera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	if !c.streaming {
		if err := c.streamOn(); err != nil {
			return dst, time.Time{}, advise(c.path, err)
		}
	}
	if c.passedOver > 0 {
		c.passedOver--
		return dst, time.Time{}, errDamaged
	}
	if err := c.dequeueNewest(ctx); err != nil {
		return dst, time.Time{}, advise(c.path, err)
	}
	b := &c.buffer
	at := c.capturedAt(b)
	dst, err := c.appendPicture(dst, b)
	if err != nil && err != errDamaged {
		return dst, at, advise(c.path, err)
	}
	if err := c.requeue(b); err != nil {
		return dst, at, advise(c.path, err)
	}
	return dst, at, err
}

// dequeueNewest waits for a picture and takes it into c.buffer. When several
// have come in the meantime, it takes the newest that is whole; damaged ones that
// it has passed over are reported by the next Captures.
func (c *v4l2Camera) dequeueNewest(ctx context.Context) error {
	if err := c.await(ctx); err != nil {
		return err
	}
	for {
		err := c.dequeue(&c.another)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
		if c.another.whole() {
			c.buffer, c.another = c.another, c.buffer
		}
		if !c.another.whole() {
			c.passedOver++
		}
		if err := c.requeue(&c.another); err != nil {
			return err
		}
	}
}

// appendPicture appends the picture in b to dst as a JPEG.
func (c *v4l2Camera) appendPicture(dst []byte, b *v4l2Buffer) ([]byte, error) {
	if int64(b.index) >= int64(len(c.buffers)) || int64(b.bytesUsed) > int64(len(c.buffers[b.index])) {
		return dst, errors.New("the driver returned a buffer that it does not have")
	}
	if !b.whole() {
		return dst, errDamaged
	}
	picture := c.buffers[b.index][:b.bytesUsed]
	if c.encoder != nil {
		return c.encoder.appendEncoded(dst, picture)
	}
	return appendJPEG(dst, picture)
}

// capturedAt returns when the picture in b was captured: by the driver's
// clock, if that is the monotonic one, brought to wall time as of now, since
// a board without a battery sets its clock while it runs.
func (c *v4l2Camera) capturedAt(b *v4l2Buffer) time.Time {
	now := time.Now()
	if b.flags&bufFlagTimestampMask != bufFlagTimestampMonotonic {
		return now
	}
	age := now.Sub(c.wall) - (time.Duration(b.timestamp.Nano()) - c.monotonic)
	if age < 0 || age > time.Minute {
		return now
	}
	return now.Add(-age)
}

func (c *v4l2Camera) Info() cameraInfo { return c.info }

// Close gives everything back to the driver, whatever state it is in: what is
// left out here has the next opening fail with EBUSY.
func (c *v4l2Camera) Close() error {
	typ := int32(bufTypeVideoCapture)
	errs := []error{c.ioctl(vidiocStreamOff, unsafe.Pointer(&typ))}
	for _, b := range c.buffers {
		errs = append(errs, c.kernel.munmap(b))
	}
	c.buffers = nil
	none := v4l2RequestBuffers{typ: bufTypeVideoCapture, memory: memoryMmap}
	errs = append(errs, c.ioctl(vidiocReqBufs, unsafe.Pointer(&none)))
	if c.watcher != nil {
		errs = append(errs, c.watcher.close())
	} else {
		errs = append(errs, c.kernel.close(c.fd))
	}
	return errors.Join(errs...)
}

// dequeue takes the next picture into b; unix.EAGAIN when there is none.
func (c *v4l2Camera) dequeue(b *v4l2Buffer) error {
	*b = v4l2Buffer{typ: bufTypeVideoCapture, memory: memoryMmap}
	return c.bufferIoctl(vidiocDQBuf, b)
}

// requeue gives the buffer of b back to be filled.
func (c *v4l2Camera) requeue(b *v4l2Buffer) error {
	return c.bufferIoctl(vidiocQBuf, b)
}

// bufferIoctl makes a call about a buffer, in the layout that the kernel has
// for it: on 32 bit there are two.
func (c *v4l2Camera) bufferIoctl(request uintptr, b *v4l2Buffer) error {
	if !c.time64 {
		err := c.ioctl(request, unsafe.Pointer(b))
		if !timeIs32 || !errors.Is(err, unix.ENOTTY) {
			return err
		}
		c.time64 = true
	}
	c.wide.set(b)
	if err := c.ioctl(time64Request(request), unsafe.Pointer(&c.wide)); err != nil {
		return err
	}
	c.wide.get(b)
	return nil
}

func (c *v4l2Camera) ioctl(request uintptr, arg unsafe.Pointer) error {
	return c.kernel.ioctl(c.fd, request, arg)
}

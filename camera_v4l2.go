//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/v4l2"
)

const (
	// The number of buffers: with fewer some pictures get lost while we are busy, and
	// more only take memory, 600 KB each at 640x480. A raw picture that we encode keeps
	// its buffer for that long, and two others are enough meanwhile.
	buffersJPEG = 4
	buffersRaw  = 3

	// settleV4L2 is how long exposure and white balance take to come right. The first
	// pictures are often dark or green.
	settleV4L2 = 500 * time.Millisecond

	// maxNewer is how many pictures may have come in the meantime: more than there are buffers.
	maxNewer = 16

	// firstFrameTimeout is how long the first picture may take: sticks for HDMI and many
	// cheap cameras need some seconds.
	firstFrameTimeout = 10 * time.Second

	// waitStep is how often Capture checks whether it is to end, while it waits for a
	// picture.
	waitStep = 500 * time.Millisecond
)

func init() { register(v4l2Driver(v4l2.Linux{})) }

// v4l2Driver returns the driver of the video nodes that a kernel has.
func v4l2Driver(k v4l2.Kernel) driver {
	return driver{
		name:    "v4l2",
		rank:    20,
		settle:  settleV4L2,
		find:    func(want settings) ([]string, error) { return findNodes(k, want) },
		open:    func(device string, want settings) (camera, error) { return openV4L2(k, device, want, v4l2Formats) },
		devices: func() []string { return v4l2.Nodes(k) },
		hasTwin: func(info cameraInfo) bool { return hasTwin(k, info) },
	}
}

// noCameras are drivers with nodes that look like cameras and are parts of video
// processors: a picture only comes out after one was put in elsewhere. Every Raspberry Pi
// has some.
var noCameras = []string{"bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec"}

// isCamera reports whether a node may be a camera.
func isCamera(caps v4l2.Capability) bool {
	return caps.IsCapture() && !slices.Contains(noCameras, caps.Driver)
}

// findNodes lists the nodes to try for what is wanted, the likeliest first. One that
// cannot be asked is tried as well, because its error is worth knowing.
func findNodes(k v4l2.Kernel, want settings) ([]string, error) {
	if want.device() != "" {
		return namedNodes(k, want), nil
	}
	nodes := slices.DeleteFunc(v4l2.QueryNodes(k), func(n v4l2.Node) bool {
		asked := n.Capability != v4l2.Capability{}
		return asked && !isCamera(n.Capability) || n.FedFromMemory
	})
	if len(nodes) == 0 {
		return nil, errNoCamera
	}
	sort.SliceStable(nodes, func(i, j int) bool { return rank(nodes[i], want.last) < rank(nodes[j], want.last) })
	var paths []string
	for _, n := range nodes {
		paths = append(paths, n.Path)
	}
	return paths, nil
}

// rank orders nodes, the lowest first: the camera that gave pictures last, then any with
// colour before one for depth or infrared, then USB cameras before a part of the board,
// which may have nothing connected.
func rank(n v4l2.Node, last cameraInfo) int {
	colour := slices.ContainsFunc(n.Formats, func(f v4l2.FourCC) bool {
		return f != v4l2.MakeFourCC("GREY") && slices.Contains(v4l2Formats, f)
	})
	rank := 0
	if last.Name == "" || printable(n.Card) != last.Name {
		rank += 8
	}
	if !colour {
		rank += 4
	}
	if !strings.HasPrefix(n.BusInfo, "usb-") {
		rank += 2
	}
	if printable(n.BusInfo) != last.bus {
		rank++
	}
	return rank
}

// namedNodes lists the nodes that may be the camera that was asked for by a path. While a
// program holds the node of a camera that was unplugged, the camera comes back under
// another number. It can only be told from another camera if none had its name.
func namedNodes(k v4l2.Kernel, want settings) []string {
	device := want.device()
	if !v4l2.IsNodeName(device) || slices.Contains(v4l2.Nodes(k), device) || want.last.Name == "" || want.twin {
		return []string{device}
	}
	var paths []string
	for _, n := range nodesOf(k, want.last.Name) {
		paths = append(paths, n.Path)
	}
	return append(paths, device) // its error is the one to tell
}

// hasTwin reports whether a camera other than the one in info has its name.
func hasTwin(k v4l2.Kernel, info cameraInfo) bool {
	return slices.ContainsFunc(nodesOf(k, info.Name), func(n v4l2.Node) bool { return printable(n.BusInfo) != info.bus })
}

// nodesOf lists the nodes of cameras with a name. It asks them nothing else.
func nodesOf(k v4l2.Kernel, name string) (nodes []v4l2.Node) {
	for _, path := range v4l2.Nodes(k) {
		caps, _ := v4l2.QueryCap(k, path)
		if isCamera(caps) && printable(caps.Card) == name {
			nodes = append(nodes, v4l2.Node{Path: path, Capability: caps})
		}
	}
	return nodes
}

// v4l2Camera is a video node that captures.
type v4l2Camera struct {
	kernel  v4l2.Kernel
	device  *v4l2.Device
	info    cameraInfo
	formats []v4l2.FourCC  // that we take, the best first
	pix     v4l2.PixFormat // granted
	encoder *encoder       // nil if the camera sends JPEG
	repair  mjpeg.Repairer // of JPEGs

	encoders []v4l2.EncoderNode // that the board has
	log      lineLogger

	flips       []assignment // of controls, for pictures that the camera turns itself
	orientation int          // that is left to do
	assignments []assignment // of controls, by -set
	fps         float64      // wanted; 0: the usual
	remarks     []string     // about what the driver refused when it was opened

	// The time that a picture may take follows from these.
	rate     float64       // that the driver granted, frames per second; 0: not known
	exposure atomic.Int64  // that is set, nanoseconds; 0: not known
	longest  time.Duration // interval between two pictures, of late
	last     time.Time     // when the last picture came; zero before the first

	// When streaming began, on the wall clock and on the driver's.
	streaming bool
	wall      time.Time
	monotonic time.Duration

	due      func(at time.Time) bool // of those that are not, none is taken; nil: all are
	buffer   v4l2.Buffer             // of the picture that is captured
	newer    v4l2.Buffer             // of one that came in the meantime
	deadline time.Time               // of the device
	damaged  int                     // pictures that were skipped and are still to be reported
}

// openV4L2 opens the video node at path and makes it ready to stream in the best of some
// formats.
func openV4L2(k v4l2.Kernel, path string, want settings, formats []v4l2.FourCC) (camera, error) {
	device, err := v4l2.Open(k, path)
	if err != nil {
		return nil, explainV4L2(path, err)
	}
	c := &v4l2Camera{kernel: k, device: device, formats: formats}
	if err := c.prepare(want); err != nil {
		c.Close()
		return nil, explainV4L2(path, err)
	}
	return c, nil
}

// prepare takes the steps from an open node to one that can stream. Their order matters:
// a format cannot be set any more once there are buffers.
func (c *v4l2Camera) prepare(want settings) error {
	steps := []func(want settings) error{
		c.checkCapability, c.selectInput, c.followSignal, c.turnItself, c.setFormat, c.setRate, c.setWantedControls, c.rereadFormat, c.openEncoder,
		c.requestBuffers,
	}
	for _, step := range steps {
		if err := step(want); err != nil {
			return err
		}
	}
	return nil
}

// checkCapability makes sure that the node is a camera. Cameras have other nodes, for
// metadata, and encoders look like cameras at first sight.
func (c *v4l2Camera) checkCapability(settings) error {
	caps, err := c.device.QueryCap()
	switch {
	case errors.Is(err, unix.ENOTTY):
		return notFoundError("not a video device")
	case err != nil:
		return err
	case !isCamera(caps):
		return notFoundError("not a camera but another kind of video device")
	case !caps.Has(v4l2.CapStreaming):
		return errors.New("this camera cannot stream (V4L2_CAP_STREAMING)")
	}
	c.info.Name = printable(caps.Card)
	c.info.Driver = printable(caps.Driver)
	c.info.Device = c.device.Path()
	c.info.bus = printable(caps.BusInfo)
	return nil
}

// selectInput selects the input that is selected: see [v4l2.Device.SetInput]. Cameras
// have only one, and some do not know the requests.
func (c *v4l2Camera) selectInput(settings) error {
	input, err := c.device.Input()
	if err != nil {
		return nil
	}
	return c.optional(c.device.SetInput(input), "its input stays as it is")
}

// requestBuffers gets buffers, and asks for an event when another signal comes in. Most
// cameras do not have that event.
func (c *v4l2Camera) requestBuffers(settings) error {
	c.device.SubscribeSourceChange()
	count := buffersJPEG
	if c.encoder != nil {
		count = buffersRaw
	}
	granted, err := c.device.RequestBuffers(count)
	if err == nil && granted == 0 {
		err = &advisedError{"the driver has no memory for pictures: try a smaller -size", nil}
	}
	return err
}

// streamOn turns the camera on, and the lamp that many have. The first Capture does that
// and not the opening, which also serves to look at what there is.
func (c *v4l2Camera) streamOn() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	c.wall, c.monotonic = time.Now(), time.Duration(now.Nano())
	if err := c.device.StreamOn(); err != nil {
		return err
	}
	c.streaming = true
	// Some cameras forget their controls when they start. The camera took them when it
	// was opened, so an error now is no reason to stop.
	c.applyControls()
	if value, err := c.device.ControlValue(v4l2.Control{ID: v4l2.ExposureAbsolute}); err == nil {
		c.noteExposure(value)
	}
	return nil
}

// Capture waits for a picture and appends the newest to dst. The driver has its buffer
// back before Capture returns.
func (c *v4l2Camera) Capture(ctx context.Context, dst []byte) ([]byte, time.Time, error) {
	if !c.streaming {
		if err := c.streamOn(); err != nil {
			return dst, time.Time{}, explainV4L2(c.device.Path(), err)
		}
	}
	if c.damaged > 0 {
		c.damaged--
		c.repair.Suspect()
		return dst, time.Time{}, errDataLost
	}
	at, err := c.dequeueDue(ctx)
	if err != nil {
		return dst, time.Time{}, explainV4L2(c.device.Path(), err)
	}
	dst, damage := c.appendPicture(dst, &c.buffer)
	if damage != nil && !errors.Is(damage, mjpeg.ErrDamaged) {
		return dst, at, explainV4L2(c.device.Path(), damage)
	}
	if err := c.device.Queue(&c.buffer); err != nil {
		return dst, at, explainV4L2(c.device.Path(), err)
	}
	return dst, at, damage
}

// dequeueNewest waits for a picture and takes it into c.buffer. If several have come in
// the meantime it takes the newest that is whole. The next Captures report damaged ones
// that it skipped.
func (c *v4l2Camera) dequeueNewest(ctx context.Context) error {
	if err := c.dequeue(ctx); err != nil {
		return err
	}
	for range maxNewer {
		err := c.device.TryDequeue(&c.newer)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
		if !c.newer.Damaged() {
			c.buffer, c.newer = c.newer, c.buffer
		}
		if c.newer.Damaged() {
			c.damaged++
		}
		if err := c.device.Queue(&c.newer); err != nil {
			return err
		}
	}
	return nil
}

// errDataLost is about a picture with V4L2_BUF_FLAG_ERROR.
const errDataLost = mjpeg.Damage("the driver has lost data of it")

// appendPicture appends the picture in b to dst as a JPEG.
func (c *v4l2Camera) appendPicture(dst []byte, b *v4l2.Buffer) ([]byte, error) {
	switch {
	case b.Damaged():
		c.repair.Suspect()
		return dst, errDataLost
	case c.encoder != nil:
		return c.encoder.Append(dst, b.Planes()...)
	}
	return c.repair.Append(dst, b.Data())
}

// capturedAt returns when the picture in b was captured. It takes the driver's time if
// that is the monotonic clock's, and turns it into wall time as of now: a board without a
// battery sets its clock while it runs.
func (c *v4l2Camera) capturedAt(b *v4l2.Buffer) time.Time {
	now := time.Now()
	at, ok := b.Monotonic()
	age := now.Sub(c.wall) - (at - c.monotonic)
	if !ok || age < 0 || age > time.Minute {
		return now
	}
	return now.Add(-age)
}

func (c *v4l2Camera) Info() cameraInfo { return c.info }

// dequeue waits for a picture and takes it into c.buffer.
func (c *v4l2Camera) dequeue(ctx context.Context) error {
	start := time.Now()
	for now := start; now.Sub(start) <= c.timeout(); now = time.Now() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.setDeadline(now); err != nil {
			return err
		}
		switch err := c.device.Dequeue(&c.buffer); {
		case err == nil:
			c.noteInterval(time.Now())
			return nil
		case errors.Is(err, v4l2.ErrStopped):
			return errors.New("the camera stopped streaming")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
	if c.last.IsZero() {
		return noPictureError(fmt.Sprintf("no picture for %v: the camera does not start, or is none", c.timeout()))
	}
	return fmt.Errorf("no picture for %v: the camera stalled", c.timeout())
}

// setDeadline sets the device's deadline to the end of the next step, unless that is far
// enough away: a timer has to be set for it. It also checks for another signal.
func (c *v4l2Camera) setDeadline(now time.Time) error {
	if c.deadline.Sub(now) > waitStep/2 {
		return nil
	}
	c.deadline = now.Add(waitStep)
	if err := c.device.SetDeadline(c.deadline); err != nil {
		return err
	}
	changed, err := c.device.EventPending()
	if changed && err == nil {
		return errors.New("the source of the picture has changed")
	}
	return err
}

// explainV4L2 says which device an error is about, and what to do. An errno means
// something else if it is the answer to a request about a control, say: then the text
// stays as it is.
func explainV4L2(path string, err error) error {
	advice := ""
	switch call := v4l2.FailedCall(err); {
	case errors.Is(err, unix.ENODEV):
		advice = "the camera is gone: was it unplugged?"
	case errors.Is(err, unix.EBUSY) && slices.Contains(exclusiveCalls, call):
		advice = "in use by another program"
	case errors.Is(err, unix.ENOSPC) && call == "ioctl(VIDIOC_STREAMON)":
		advice = "not enough USB bandwidth: try a smaller -size, or one camera fewer on this port"
	case errors.Is(err, unix.EPIPE) && call == "ioctl(VIDIOC_STREAMON)":
		return fmt.Errorf("%s: nothing is connected to this receiver, or its pipeline is not set up (media-ctl): %w", path, err)
	case call != "":
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		advice = "permission denied: run as root or add this user to the group video"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO):
		return notFoundError(path + ": no such device: is it plugged in?")
	}
	if withAdvice := (*advisedError)(nil); advice == "" && errors.As(err, &withAdvice) {
		advice = withAdvice.text
	}
	if advice == "" {
		return fmt.Errorf("%s: %w", path, err)
	}
	return &advisedError{path + ": " + advice, err}
}

// exclusiveCalls fail while another program has the camera; "" is opening it.
var exclusiveCalls = []string{"", "ioctl(VIDIOC_S_FMT)", "ioctl(VIDIOC_REQBUFS)", "ioctl(VIDIOC_STREAMON)"}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2_test

import (
	"testing"
	"time"
	"unsafe"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// tell returns lies of a driver for [v4l2test.NewHostile].
func tell(lies ...[8]byte) (all []byte) {
	for _, l := range lies {
		all = append(all, l[:]...)
	}
	return all
}

// Whatever a driver answers, capturing does not panic, ends, reads nothing but memory that is
// mapped, and releases everything.
func FuzzCapture(f *testing.F) {
	f.Add(false, []byte(nil))
	f.Add(true, []byte(nil))
	f.Add(false, tell([8]byte{3, 0x83})) // formats without end
	for call := range byte(100) {
		f.Add(false, tell([8]byte{call, 0x81, 2, 0, 255, 255, 255, 255})) // how much of a buffer is used
		f.Add(true, tell([8]byte{call, 0x82, 0, 0, 255, 255, 255, 255}))  // the same of a plane
		f.Add(true, tell([8]byte{call, 0x82, 4, 0, 255, 255, 255, 255}))  // where its picture begins
	}
	f.Fuzz(func(t *testing.T, mplane bool, lies []byte) {
		c := v4l2test.NewCamera()
		c.Sizes, c.Intervals = [][2]uint32{{64, 48}, {32, 32}}, []uapi.Fract{{Numerator: 1, Denominator: 30}}
		c.Controls, c.BufferSize, c.Endless = v4l2test.WebcamControls(), 4096, true
		c.Show([]byte("picture"))
		if mplane {
			c.Capabilities = uapi.V4L2_CAP_VIDEO_CAPTURE_MPLANE | uapi.V4L2_CAP_STREAMING | uapi.V4L2_CAP_DEVICE_CAPS
			c.DeviceCaps, c.Strides, c.Formats = c.Capabilities, []uint32{64, 64}, []string{"NM12"}
		}
		h := v4l2test.NewHostile(v4l2test.NewBoard(map[string]*v4l2test.Camera{"/dev/video0": c}), nil, lies)
		v4l2.QueryNodes(h)
		d, err := v4l2.Open(h, "/dev/video0")
		if err != nil {
			t.Fatal(err)
		}
		d.QueryCap()
		choose(d)
		if granted, err := d.RequestBuffers(4); err == nil && granted > 0 && d.StreamOn() == nil {
			take(d)
		}
		d.Close()
		h.CheckReleased(t)
	})
}

// choose asks for all that there is to choose, and makes a choice.
func choose(d *v4l2.Device) {
	if input, err := d.Input(); err == nil {
		d.SetInput(input)
	}
	if timings, err := d.QueryDVTimings(); err == nil {
		d.SetDVTimings(timings)
	}
	if standard, err := d.QueryStd(); err == nil {
		d.SetStd(standard)
	}
	formats, _ := d.EnumFormats()
	for _, format := range formats {
		_ = format.String()
		sizes := d.EnumFrameSizes(format)
		v4l2.NearestSizes(sizes, v4l2.FrameSize{Width: 640, Height: 480})
		if len(sizes) > 0 {
			v4l2.NearestInterval(d.EnumFrameIntervals(format, sizes[0]), 30)
			d.SetFormat(format, sizes[0])
		}
	}
	d.Format()
	if parm, err := d.Parm(); err == nil {
		parm, _ = d.SetParm(parm)
		_ = parm.TimePerFrame.Rate()
	}
	controls, _ := d.Controls()
	for _, c := range controls {
		for _, text := range []string{"default", "on", "1", c.Label} {
			if value, err := c.Parse(text); err == nil {
				d.SetControlValue(c, value)
			}
		}
		d.ControlValue(c)
	}
}

// take takes some pictures and reads them.
func take(d *v4l2.Device) {
	d.SubscribeSourceChange()
	var b v4l2.Buffer
	for range 10 {
		if d.SetDeadline(time.Now()) != nil || d.Dequeue(&b) != nil {
			return
		}
		b.Monotonic()
		if !b.Damaged() {
			read(b.Data())
		}
		for _, plane := range b.Planes() {
			read(plane)
		}
		d.EventPending()
		if d.Queue(&b) != nil {
			return
		}
	}
}

var sum byte

// read reads all bytes.
func read(b []byte) {
	for _, v := range b {
		sum += v
	}
}

// The same is so of encoders, whose memory for raw pictures is written as well.
func FuzzEncoder(f *testing.F) {
	for single := range 2 {
		for format := range uint8(len(encoderFormats)) {
			f.Add(single == 1, format, []byte(nil))
		}
	}
	for call := range byte(40) {
		f.Add(true, uint8(1), tell([8]byte{call, 0x81, 5, 0, 1, 0, 0, 0}))  // the size of a picture, or its time
		f.Add(false, uint8(2), tell([8]byte{call, 0x82, 1, 0, 1, 0, 0, 0})) // the length of a plane
	}
	f.Fuzz(func(t *testing.T, single bool, format uint8, lies []byte) {
		e := v4l2test.NewEncoder(func(v4l2test.RawPicture) []byte { return []byte("JPEG") })
		e.Single, e.Raw, e.CodedSize, e.Quiet = single, encoderFormats, 4096, true
		board := new(v4l2test.Board)
		board.PlugEncoder("/dev/video11", e)
		h := v4l2test.NewHostile(board, nil, lies)
		config := v4l2.EncoderConfig{
			PixelFormat: v4l2.MakeFourCC(encoderFormats[int(format)%len(encoderFormats)]),
			FrameSize:   v4l2.FrameSize{Width: 64, Height: 48}, Quality: 80, FPS: 30,
		}
		for _, node := range v4l2.Encoders(h) {
			if device, err := v4l2.OpenEncoder(h, node, config); err == nil {
				encodeSome(device)
				device.Close()
			}
		}
		h.CheckReleased(t)
	})
}

// A rubbishKernel has an encoder that returns buffers at any time, none with a JPEG.
type rubbishKernel struct{ *v4l2test.Board }

func (k rubbishKernel) Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	switch request {
	case uapi.VIDIOC_DQBUF:
		(*uapi.Buffer)(arg).Flags = uapi.V4L2_BUF_FLAG_TIMESTAMP_COPY
		return nil
	case uapi.VIDIOC_QBUF:
		return nil
	}
	return k.Board.Ioctl(fd, request, arg)
}

// An encoder that returns rubbish without end has failed.
func TestEncoderRubbish(t *testing.T) {
	board := onlyEncoder(newEncoder())
	k := rubbishKernel{board}
	e, err := v4l2.OpenEncoder(k, v4l2.Encoders(k)[0], v4l2.EncoderConfig{
		PixelFormat: v4l2.MakeFourCC("YUYV"), FrameSize: v4l2.FrameSize{Width: 64, Height: 48}, Quality: 80,
	})
	if err != nil {
		t.Fatal(err)
	}
	if picture, err := e.Encode(time.Hour); err == nil {
		t.Errorf("got a picture of %d bytes, want an error", len(picture))
	}
	e.Close()
	board.CheckReleased(t)
}

var encoderFormats = []string{"YUYV", "NV12", "NM12", "YM12"}

// encodeSome encodes some pictures.
func encodeSome(e *v4l2.Encoder) {
	for range 4 {
		for i, plane := range e.Planes() {
			clear(plane[:e.Format().SizeImage[i]])
		}
		picture, err := e.Encode(time.Second)
		if err != nil {
			return
		}
		read(picture)
		if e.Release() != nil {
			return
		}
	}
}

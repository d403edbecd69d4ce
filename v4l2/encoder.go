//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sort"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// An EncoderNode is a node of a board that makes JPEGs of raw pictures, from memory to memory.
type EncoderNode struct {
	Path string
	Capability
	Raw   []FourCC // formats that it takes
	Coded FourCC   // what it makes: JPEG, or MJPG, which is the same in a video
}

// Encoders lists the nodes that make JPEGs, those with the format JPEG first: they have a quality,
// and some of the others have a bit rate instead. What they are called and which numbers they have
// differs from board to board, so all nodes are asked.
func Encoders(k Kernel) (encoders []EncoderNode) {
	for _, path := range Nodes(k) {
		d, err := Open(k, path)
		if err != nil {
			continue
		}
		if e := d.encoderNode(); e.Coded != 0 {
			encoders = append(encoders, e)
		}
		d.Close()
	}
	rank := func(i int) int { return slices.Index(codedFormats, encoders[i].Coded) }
	sort.SliceStable(encoders, func(i, j int) bool { return rank(i) < rank(j) })
	return encoders
}

// codedFormats are the names that JPEG has as a format, the better first.
var codedFormats = []FourCC{MakeFourCC("JPEG"), MakeFourCC("MJPG")}

// encoderNode describes the node. Coded is 0 if it is no encoder.
func (d *Device) encoderNode() EncoderNode {
	e := EncoderNode{Path: d.path}
	e.Capability, _ = d.QueryCap()
	if !e.Has(CapVideoM2M|CapVideoM2MMplane) || !e.Has(CapStreaming) {
		return e
	}
	coded, _ := d.EnumFormats()
	raw := d.output()
	e.Raw, _ = raw.enumFormats()
	makes := func(format FourCC) bool { return slices.Contains(coded, format) }
	if i := slices.IndexFunc(codedFormats, makes); i >= 0 && len(e.Raw) > 0 {
		e.Coded = codedFormats[i]
	}
	return e
}

// output returns the queue of buffers that the device reads.
func (d *Device) output() queue {
	q := queue{device: d, typ: uapi.V4L2_BUF_TYPE_VIDEO_OUTPUT}
	if d.capture.mplane() {
		q.typ = uapi.V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
	}
	return q
}

// An EncoderConfig tells what an encoder is to do.
type EncoderConfig struct {
	PixelFormat FourCC // of raw pictures
	FrameSize
	Quality int     // 1 to 100, as that of libjpeg
	FPS     float64 // frames per second, of which a bit rate depends; 0: 30
}

// An Encoder makes JPEGs of raw pictures in hardware, from memory to memory. It has room for one
// raw picture and for one JPEG.
type Encoder struct {
	device *Device // its capture side has the JPEGs
	raw    queue
	format PixFormat // of raw pictures, granted

	picture  uapi.Buffer // the raw one
	jpeg     Buffer
	count    int64 // pictures
	deadline time.Time
}

// OpenEncoder opens an encoder and starts it. It fails if the encoder does not take pictures of
// the format or the size.
func OpenEncoder(k Kernel, node EncoderNode, c EncoderConfig) (*Encoder, error) {
	d, err := Open(k, node.Path)
	if err != nil {
		return nil, err
	}
	e := &Encoder{device: d}
	if err := e.prepare(node, c); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// prepare takes the steps from an open node to one that encodes. The order is that of the
// kernel's "Memory-to-memory Stateful Video Encoder Interface".
func (e *Encoder) prepare(node EncoderNode, c EncoderConfig) error {
	if _, err := e.device.QueryCap(); err != nil {
		return err
	}
	e.raw = e.device.output()
	e.setQuality(c)
	if err := e.setFormats(node, c); err != nil {
		return err
	}
	e.setRate(c)
	if err := e.raw.request(1); err != nil {
		return err
	}
	granted, err := e.device.RequestBuffers(1)
	if err != nil {
		return err
	}
	if granted == 0 || !e.hasRoom() {
		return errors.New("the driver gives too little memory for a picture")
	}
	if err := e.raw.streamOn(); err != nil {
		return err
	}
	return e.device.StreamOn()
}

// setQuality sets the quality or, if the encoder has none, a bit rate. Encoders that have neither
// go on with what they have.
func (e *Encoder) setQuality(c EncoderConfig) {
	if q, err := e.device.queryControl(uapi.V4L2_CID_JPEG_COMPRESSION_QUALITY); err == nil {
		e.device.SetControlValue(Control{ID: q.ID}, scaleQuality(c.Quality, q.Minimum, q.Maximum))
		return
	}
	if q, err := e.device.queryControl(uapi.V4L2_CID_MPEG_VIDEO_BITRATE); err == nil {
		rate := int64(BitsPerPixel(c.Quality) * float64(c.Width*c.Height) * c.rate())
		e.device.SetControlValue(Control{ID: q.ID}, min(max(rate, q.Minimum), q.Maximum))
	}
}

// scaleQuality returns a quality from 1 to 100 as the control of an encoder with other limits has
// it. Most have libjpeg's scale, if not all of it, and some have four qualities.
func scaleQuality(quality int, lowest, highest int64) int64 {
	const steps = 100 - 1
	if highest-lowest < 10 {
		return lowest + (int64(quality-1)*(highest-lowest)+steps/2)/steps
	}
	return min(max(int64(quality), lowest), highest)
}

// BitsPerPixel returns about how large JPEGs of a quality are: one bit per pixel at quality 80. The
// size falls with the square root of the scale of libjpeg's tables, in percent, which is 40 there.
// Photographs with few details have less, and those with many twice as much.
func BitsPerPixel(quality int) float64 {
	scale := 5000 / float64(quality)
	if quality >= 50 {
		scale = max(200-2*float64(quality), 4)
	}
	return math.Sqrt(40 / scale)
}

func (c EncoderConfig) rate() float64 {
	if c.FPS <= 0 {
		return 30
	}
	return c.FPS
}

// setFormats sets the format of raw pictures and that of JPEGs.
func (e *Encoder) setFormats(node EncoderNode, c EncoderConfig) (err error) {
	e.format, err = e.raw.setFormat(e.raw.jpegFormat(0), c.PixelFormat, c.FrameSize)
	if err != nil {
		return err
	}
	if e.format.PixelFormat != c.PixelFormat {
		return fmt.Errorf("it takes no pictures of the format %v", c.PixelFormat)
	}
	if e.format.Width < c.Width || e.format.Height < c.Height {
		return fmt.Errorf("it takes no pictures of %dx%d", c.Width, c.Height)
	}
	if e.format.FrameSize != c.FrameSize { // it is more than the picture
		crop := uapi.Selection{
			Type: uapi.V4L2_BUF_TYPE_VIDEO_OUTPUT, Target: uapi.V4L2_SEL_TGT_CROP,
			Width: uint32(c.Width), Height: uint32(c.Height),
		}
		e.device.ioctl(uapi.VIDIOC_S_SELECTION, unsafe.Pointer(&crop))
	}
	// Some drivers leave the size of the coded buffer to the program. A byte per pixel is
	// more than libjpeg takes at quality 100.
	room := uint32(c.Width*c.Height + 64<<10)
	jpegs := &e.device.capture
	coded, err := jpegs.setFormat(jpegs.jpegFormat(room), node.Coded, c.FrameSize)
	if err == nil && coded.PixelFormat != node.Coded {
		err = fmt.Errorf("it makes no %v at present", node.Coded) // a Raspberry Pi without start_x=1
	}
	return err
}

// jpegFormat returns a format for setFormat with the colours of JPEG, and with sizeImage bytes in
// one plane of memory; 0: the driver knows how many, and in which planes.
func (q *queue) jpegFormat(sizeImage uint32) (f uapi.Format) {
	f.Pix.Field = uapi.V4L2_FIELD_NONE
	if !q.mplane() {
		f.Pix.Colorspace, f.Pix.SizeImage = uapi.V4L2_COLORSPACE_JPEG, sizeImage
		return f
	}
	m := f.Mplane()
	m.Colorspace = uapi.V4L2_COLORSPACE_JPEG
	if sizeImage > 0 {
		m.NumPlanes, m.Planes[0].SizeImage = 1, sizeImage
	}
	return f
}

// setRate tells how many pictures come. Encoders with a bit rate need it.
func (e *Encoder) setRate(c EncoderConfig) {
	p := uapi.StreamParm{Type: e.raw.typ}
	p.Capture.TimePerFrame = uapi.Fract{Numerator: 1000, Denominator: uint32(math.Round(1000 * c.rate()))}
	e.device.ioctl(uapi.VIDIOC_S_PARM, unsafe.Pointer(&p))
}

// hasRoom reports whether there is a buffer for raw pictures, and it is as large as the format says.
func (e *Encoder) hasRoom() bool {
	if len(e.raw.mapped) == 0 {
		return false
	}
	for i, plane := range e.raw.mapped[0] {
		if len(plane) < e.format.SizeImage[i] {
			return false
		}
	}
	return true
}

// Format returns the format of raw pictures as it was granted. It may have more rows than were
// asked for, as memory for them, and more bytes per row.
func (e *Encoder) Format() PixFormat { return e.format }

// Planes returns the planes of memory for the raw picture. It may be written until Encode, and
// again after Release. It may be uncached.
func (e *Encoder) Planes() [][]byte { return e.raw.mapped[0] }

// ErrEncoderStalled is an error of Encode: no JPEG came in time.
var ErrEncoderStalled = errors.New("it has stalled")

// maxRubbish is how many buffers with something else may come before the JPEG. Real encoders return
// one.
const maxRubbish = 8

// errNotEncoded is an error of Encode.
var errNotEncoded = errors.New("it could not encode a picture")

// Encode encodes the raw picture and returns the JPEG, which is valid until Release. It waits at
// least half of limit for it, and not longer than that. Some encoders return a buffer with
// rubbish first: drivers copy the time of the raw picture, which tells it from the JPEG.
func (e *Encoder) Encode(limit time.Duration) ([]byte, error) {
	e.count++
	e.picture = e.raw.buffer(0)
	e.picture.Field = uapi.V4L2_FIELD_NONE
	e.picture.Timestamp = unix.NsecToTimeval(e.count * int64(time.Microsecond))
	stamp := e.picture.Timestamp
	if err := e.setDeadline(limit); err != nil {
		return nil, err
	}
	if err := e.raw.enqueue(&e.picture, e.format.SizeImage[:len(e.Planes())]...); err != nil {
		return nil, err
	}
	for range maxRubbish {
		err := e.device.Dequeue(&e.jpeg)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, ErrEncoderStalled
		}
		if err != nil {
			return nil, err
		}
		copies := e.jpeg.raw.Flags&uapi.V4L2_BUF_FLAG_TIMESTAMP_MASK == uapi.V4L2_BUF_FLAG_TIMESTAMP_COPY
		if copies && e.jpeg.raw.Timestamp != stamp {
			if err := e.device.Queue(&e.jpeg); err != nil {
				return nil, err
			}
			continue
		}
		if e.jpeg.Damaged() {
			return nil, errNotEncoded
		}
		return e.jpeg.Data(), nil
	}
	return nil, errNotEncoded
}

// setDeadline sets the deadline of Encode, unless it is far enough away: a timer has to be set
// for it.
func (e *Encoder) setDeadline(limit time.Duration) error {
	now := time.Now()
	if left := e.deadline.Sub(now); left > limit/2 && left <= limit {
		return nil
	}
	e.deadline = now.Add(limit)
	return e.device.SetDeadline(e.deadline)
}

// Release gives the buffer of the JPEG back, and takes that of the raw picture, which the driver
// may still have. The JPEG's comes first: a device that has no buffers at all reports an error
// to Go's poller.
func (e *Encoder) Release() error {
	if err := e.device.Queue(&e.jpeg); err != nil {
		return err
	}
	err := e.raw.dequeue(&e.jpeg)
	if err != unix.EAGAIN {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(e.device.fd), Events: unix.POLLOUT}}
	wait := max(time.Until(e.deadline), time.Millisecond)
	if _, err := e.device.kernel.Poll(fds, int(wait.Milliseconds())); err != nil {
		return err
	}
	if err := e.raw.dequeue(&e.jpeg); err != unix.EAGAIN {
		return err
	}
	return ErrEncoderStalled
}

// Close stops the encoder, gives its buffers back and closes it. It can take two seconds if the
// encoder has stalled.
func (e *Encoder) Close() error {
	return errors.Join(release(&e.device.capture, &e.raw), e.device.close())
}

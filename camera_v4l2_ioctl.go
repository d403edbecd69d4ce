//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Everything here is from include/uapi/linux/videodev2.h. The sizes of the
// structures are part of the request numbers, so each must have the layout
// that C gives it, on 32 and on 64 bit.

const (
	bufTypeVideoCapture = 1 // V4L2_BUF_TYPE_VIDEO_CAPTURE
	memoryMmap          = 1 // V4L2_MEMORY_MMAP
	fieldAny            = 0 // V4L2_FIELD_ANY

	capVideoCapture = 0x00000001 // V4L2_CAP_VIDEO_CAPTURE
	capVideoM2M     = 0x00008000 // V4L2_CAP_VIDEO_M2M
	capStreaming    = 0x04000000 // V4L2_CAP_STREAMING
	capDeviceCaps   = 0x80000000 // V4L2_CAP_DEVICE_CAPS

	capTimePerFrame = 0x1000 // V4L2_CAP_TIMEPERFRAME, in v4l2CaptureParm

	frmSizeTypeDiscrete = 1 // V4L2_FRMSIZE_TYPE_DISCRETE
	frmIvalTypeDiscrete = 1 // V4L2_FRMIVAL_TYPE_DISCRETE

	eventSourceChange = 5 // V4L2_EVENT_SOURCE_CHANGE

	bufFlagError              = 0x0040 // V4L2_BUF_FLAG_ERROR
	bufFlagTimestampMask      = 0xe000 // V4L2_BUF_FLAG_TIMESTAMP_MASK
	bufFlagTimestampMonotonic = 0x2000 // V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC
)

// struct v4l2_capability
type v4l2Capability struct {
	driver       [16]byte
	card         [32]byte
	busInfo      [32]byte
	version      uint32
	capabilities uint32 // of the whole device, all its nodes
	deviceCaps   uint32 // of this node, with capDeviceCaps
	_            [3]uint32
}

// caps returns what this node can do.
func (c *v4l2Capability) caps() uint32 {
	if c.capabilities&capDeviceCaps != 0 {
		return c.deviceCaps
	}
	return c.capabilities
}

// struct v4l2_fmtdesc
type v4l2FmtDesc struct {
	index       uint32
	typ         uint32
	flags       uint32
	description [32]byte
	pixelFormat uint32
	mbusCode    uint32
	_           [3]uint32
}

// struct v4l2_pix_format
type v4l2PixFormat struct {
	width        uint32 // pixels
	height       uint32 // pixels
	pixelFormat  uint32
	field        uint32
	bytesPerLine uint32
	sizeImage    uint32 // bytes
	colorspace   uint32
	priv         uint32
	flags        uint32
	ycbcrEnc     uint32
	quantization uint32
	xferFunc     uint32
}

// struct v4l2_format: the union in it has pointers, and their alignment.
type v4l2Format struct {
	typ uint32
	_   [0]uintptr
	pix v4l2PixFormat
	_   [200 - unsafe.Sizeof(v4l2PixFormat{})]byte
}

// struct v4l2_fract
type v4l2Fract struct {
	numerator, denominator uint32
}

// struct v4l2_captureparm
type v4l2CaptureParm struct {
	capability   uint32
	captureMode  uint32
	timePerFrame v4l2Fract // seconds
	extendedMode uint32
	readBuffers  uint32
	_            [4]uint32
}

// struct v4l2_streamparm
type v4l2StreamParm struct {
	typ     uint32
	capture v4l2CaptureParm
	_       [200 - unsafe.Sizeof(v4l2CaptureParm{})]byte
}

// struct v4l2_requestbuffers
type v4l2RequestBuffers struct {
	count        uint32
	typ          uint32
	memory       uint32
	capabilities uint32
	flags        uint8
	_            [3]uint8
}

// struct v4l2_timecode
type v4l2Timecode struct {
	typ      uint32
	flags    uint32
	frames   uint8
	seconds  uint8
	minutes  uint8
	hours    uint8
	userbits [4]uint8
}

// struct v4l2_buffer. On 32 bit this is the layout with 32 bits of time, 68
// bytes, which every kernel knows; the one with 64 bits, 80 bytes, is known
// since Linux 5.6 only.
type v4l2Buffer struct {
	index     uint32
	typ       uint32
	bytesUsed uint32
	flags     uint32
	field     uint32
	timestamp unix.Timeval
	timecode  v4l2Timecode
	sequence  uint32
	memory    uint32
	offset    uintptr // union m: unsigned long and pointers
	length    uint32  // bytes
	_         uint32
	requestFD int32
}

// v4l2BufferTime64 is struct v4l2_buffer on 32-bit ARM and RISC-V with 64 bits of
// time, for kernels that know no other (without CONFIG_COMPAT_32BIT_TIME).
type v4l2BufferTime64 struct {
	index     uint32
	typ       uint32
	bytesUsed uint32
	flags     uint32
	field     uint32
	_         uint32 // C aligns 64 bits to 8 bytes there, Go to 4
	seconds   int64
	micros    int64
	timecode  v4l2Timecode
	sequence  uint32
	memory    uint32
	offset    uintptr
	length    uint32 // bytes
	_         uint32
	requestFD int32
}

// timeIs32 says that this program has 32 bits of time in v4l2Buffer.
const timeIs32 = unsafe.Sizeof(unix.Timeval{}) == 8

// set takes over what is in b, which is all but the time: no call has it going
// to the kernel.
func (w *v4l2BufferTime64) set(b *v4l2Buffer) {
	*w = v4l2BufferTime64{
		index: b.index, typ: b.typ, bytesUsed: b.bytesUsed, flags: b.flags, field: b.field,
		timecode: b.timecode, sequence: b.sequence, memory: b.memory,
		offset: b.offset, length: b.length, requestFD: b.requestFD,
	}
}

// get puts what is in w into b.
func (w *v4l2BufferTime64) get(b *v4l2Buffer) {
	*b = v4l2Buffer{
		index: w.index, typ: w.typ, bytesUsed: w.bytesUsed, flags: w.flags, field: w.field,
		timestamp: unix.NsecToTimeval(w.seconds*1e9 + w.micros*1e3),
		timecode:  w.timecode, sequence: w.sequence, memory: w.memory,
		offset: w.offset, length: w.length, requestFD: w.requestFD,
	}
}

// time64Request returns the number of a request about a v4l2Buffer for one
// about a v4l2BufferTime64: the size in it is another.
func time64Request(request uintptr) uintptr {
	return request&^(0x3fff<<16) | unsafe.Sizeof(v4l2BufferTime64{})<<16
}

// struct v4l2_frmsizeenum
type v4l2FrmSizeEnum struct {
	index       uint32
	pixelFormat uint32
	typ         uint32
	width       uint32    // if typ is frmSizeTypeDiscrete
	height      uint32    // the same
	_           [4]uint32 // else these are least, most and step of both
	_           [2]uint32
}

// struct v4l2_frmivalenum
type v4l2FrmIvalEnum struct {
	index       uint32
	pixelFormat uint32
	width       uint32
	height      uint32
	typ         uint32
	interval    v4l2Fract // seconds, if typ is frmIvalTypeDiscrete
	_           [4]uint32 // else these are most and step
	_           [2]uint32
}

// struct v4l2_event_subscription
type v4l2EventSubscription struct {
	typ   uint32
	id    uint32
	flags uint32
	_     [5]uint32
}

// Request numbers: direction, size of the argument, 'V', number (_IOC in
// include/uapi/asm-generic/ioctl.h, which mips, powerpc and sparc do not use).
const (
	iocWrite = 1 << 30
	iocRead  = 2 << 30

	vidiocQueryCap  = iocRead | unsafe.Sizeof(v4l2Capability{})<<16 | 'V'<<8
	vidiocEnumFmt   = iocRead | iocWrite | unsafe.Sizeof(v4l2FmtDesc{})<<16 | 'V'<<8 | 2
	vidiocSFmt      = iocRead | iocWrite | unsafe.Sizeof(v4l2Format{})<<16 | 'V'<<8 | 5
	vidiocReqBufs   = iocRead | iocWrite | unsafe.Sizeof(v4l2RequestBuffers{})<<16 | 'V'<<8 | 8
	vidiocQueryBuf  = iocRead | iocWrite | unsafe.Sizeof(v4l2Buffer{})<<16 | 'V'<<8 | 9
	vidiocQBuf      = iocRead | iocWrite | unsafe.Sizeof(v4l2Buffer{})<<16 | 'V'<<8 | 15
	vidiocDQBuf     = iocRead | iocWrite | unsafe.Sizeof(v4l2Buffer{})<<16 | 'V'<<8 | 17
	vidiocStreamOn  = iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 18
	vidiocStreamOff = iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 19
	vidiocGParm     = iocRead | iocWrite | unsafe.Sizeof(v4l2StreamParm{})<<16 | 'V'<<8 | 21
	vidiocSParm     = iocRead | iocWrite | unsafe.Sizeof(v4l2StreamParm{})<<16 | 'V'<<8 | 22

	vidiocEnumFrameSizes     = iocRead | iocWrite | unsafe.Sizeof(v4l2FrmSizeEnum{})<<16 | 'V'<<8 | 74
	vidiocEnumFrameIntervals = iocRead | iocWrite | unsafe.Sizeof(v4l2FrmIvalEnum{})<<16 | 'V'<<8 | 75
	vidiocSubscribeEvent     = iocWrite | unsafe.Sizeof(v4l2EventSubscription{})<<16 | 'V'<<8 | 90
)

// requestNames are the names for errors.
var requestNames = map[uintptr]string{
	vidiocQueryCap:  "VIDIOC_QUERYCAP",
	vidiocEnumFmt:   "VIDIOC_ENUM_FMT",
	vidiocSFmt:      "VIDIOC_S_FMT",
	vidiocReqBufs:   "VIDIOC_REQBUFS",
	vidiocQueryBuf:  "VIDIOC_QUERYBUF",
	vidiocQBuf:      "VIDIOC_QBUF",
	vidiocDQBuf:     "VIDIOC_DQBUF",
	vidiocStreamOn:  "VIDIOC_STREAMON",
	vidiocStreamOff: "VIDIOC_STREAMOFF",
	vidiocGParm:     "VIDIOC_G_PARM",
	vidiocSParm:     "VIDIOC_S_PARM",

	vidiocEnumFrameSizes:     "VIDIOC_ENUM_FRAMESIZES",
	vidiocEnumFrameIntervals: "VIDIOC_ENUM_FRAMEINTERVALS",
	vidiocSubscribeEvent:     "VIDIOC_SUBSCRIBE_EVENT",
}

// fourcc returns a pixel format as its four letters, "MJPG".
func fourcc(code uint32) string {
	letters := []byte{byte(code), byte(code >> 8), byte(code >> 16), byte(code >> 24)}
	return strings.TrimRight(string(letters), " ")
}

// fourccCode is the reverse of fourcc (v4l2_fourcc).
func fourccCode(letters string) uint32 {
	return uint32(letters[0]) | uint32(letters[1])<<8 | uint32(letters[2])<<16 | uint32(letters[3])<<24
}

// A kernel is the system calls that a video node needs: the real ones, or a
// test's.
type kernel interface {
	open(path string) (fd int, err error)
	close(fd int) error
	// ioctl's arg is an unsafe.Pointer down to the system call: a uintptr
	// would not keep what it points to alive.
	ioctl(fd int, request uintptr, arg unsafe.Pointer) error
	poll(fds []unix.PollFd, timeoutMillis int) (n int, err error)
	mmap(fd int, offset int64, length int) ([]byte, error)
	munmap(b []byte) error
}

// linux is the running kernel. Interrupted calls are made again: Go interrupts
// its own threads.
type linux struct{}

// open is not os.OpenFile: that would have Go's poller watch the node before
// it streams, which starts the read() emulation of some drivers, after which
// no format can be set.
func (linux) open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (linux) close(fd int) error {
	return unix.Close(fd)
}

func (linux) ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			return unix.EAGAIN // no allocation: this is how a queue ends
		default:
			return os.NewSyscallError("ioctl("+requestNames[request]+")", errno)
		}
	}
}

func (linux) poll(fds []unix.PollFd, timeoutMillis int) (int, error) {
	n, err := unix.Poll(fds, timeoutMillis)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, os.NewSyscallError("poll", err)
}

func (linux) mmap(fd int, offset int64, length int) ([]byte, error) {
	b, err := unix.Mmap(fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
}

func (linux) munmap(b []byte) error {
	return os.NewSyscallError("munmap", unix.Munmap(b))
}

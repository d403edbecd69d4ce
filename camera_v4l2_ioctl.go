//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
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

	colorspaceJPEG      = 7          // V4L2_COLORSPACE_JPEG
	quantizationDefault = 0          // V4L2_QUANTIZATION_DEFAULT
	quantizationLimited = 2          // V4L2_QUANTIZATION_LIM_RANGE
	pixFmtPrivMagic     = 0xfeedcafe // V4L2_PIX_FMT_PRIV_MAGIC

	capVideoCapture       = 0x00000001 // V4L2_CAP_VIDEO_CAPTURE
	capVideoCaptureMplane = 0x00001000 // V4L2_CAP_VIDEO_CAPTURE_MPLANE
	capVideoM2MMplane     = 0x00004000 // V4L2_CAP_VIDEO_M2M_MPLANE
	capVideoM2M           = 0x00008000 // V4L2_CAP_VIDEO_M2M
	capStreaming          = 0x04000000 // V4L2_CAP_STREAMING
	capTouch              = 0x10000000 // V4L2_CAP_TOUCH
	capDeviceCaps         = 0x80000000 // V4L2_CAP_DEVICE_CAPS

	capTimePerFrame = 0x1000 // V4L2_CAP_TIMEPERFRAME, in v4l2CaptureParm

	frmSizeTypeDiscrete = 1 // V4L2_FRMSIZE_TYPE_DISCRETE
	frmIvalTypeDiscrete = 1 // V4L2_FRMIVAL_TYPE_DISCRETE

	eventSourceChange = 5 // V4L2_EVENT_SOURCE_CHANGE

	bufFlagError              = 0x0040 // V4L2_BUF_FLAG_ERROR
	bufFlagTimestampMask      = 0xe000 // V4L2_BUF_FLAG_TIMESTAMP_MASK
	bufFlagTimestampMonotonic = 0x2000 // V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC

	ctrlTypeInteger     = 1 // V4L2_CTRL_TYPE_INTEGER
	ctrlTypeBoolean     = 2 // V4L2_CTRL_TYPE_BOOLEAN
	ctrlTypeMenu        = 3 // V4L2_CTRL_TYPE_MENU
	ctrlTypeInteger64   = 5 // V4L2_CTRL_TYPE_INTEGER64
	ctrlTypeBitmask     = 8 // V4L2_CTRL_TYPE_BITMASK
	ctrlTypeIntegerMenu = 9 // V4L2_CTRL_TYPE_INTEGER_MENU

	ctrlFlagDisabled  = 0x0001     // V4L2_CTRL_FLAG_DISABLED
	ctrlFlagReadOnly  = 0x0004     // V4L2_CTRL_FLAG_READ_ONLY
	ctrlFlagInactive  = 0x0010     // V4L2_CTRL_FLAG_INACTIVE
	ctrlFlagWriteOnly = 0x0040     // V4L2_CTRL_FLAG_WRITE_ONLY
	ctrlFlagNextCtrl  = 0x80000000 // V4L2_CTRL_FLAG_NEXT_CTRL, in the id that is asked for

	ctrlClassMask = 0x0fff0000 // of an id (V4L2_CTRL_ID2CLASS)

	cidExposureAbsolute     = 0x009a0902 // V4L2_CID_EXPOSURE_ABSOLUTE, in units of 100 us
	cidExposureAutoPriority = 0x009a0903 // V4L2_CID_EXPOSURE_AUTO_PRIORITY
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

// name returns what the camera calls itself.
func (c *v4l2Capability) name() string { return driverText(c.card[:]) }

// bus tells where the device is connected: "usb-3f980000.usb-1.2".
func (c *v4l2Capability) bus() string { return driverText(c.busInfo[:]) }

func (c *v4l2Capability) driverName() string { return driverText(c.driver[:]) }

// driverText returns what a driver has written, up to the first zero byte. Some of it
// comes from the camera as it is.
func driverText(b []byte) string { return printable(unix.ByteSliceToString(b)) }

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
	priv         uint32 // pixFmtPrivMagic, or else what follows means nothing
	flags        uint32
	ycbcrEnc     uint32
	quantization uint32
	xferFunc     uint32
}

// limitedRange reports whether luminance goes from 16 to 235 only. What the driver
// leaves to the colour space is so in all but JPEG's (V4L2_MAP_QUANTIZATION_DEFAULT).
// GREY, for which the kernel says the same, comes from cameras for infrared and from
// sensors in truth, which use all values: there the driver must say it.
func (p *v4l2PixFormat) limitedRange() bool {
	if p.priv == pixFmtPrivMagic && p.quantization != quantizationDefault {
		return p.quantization == quantizationLimited
	}
	return p.colorspace != colorspaceJPEG && fourcc(p.pixelFormat) != "GREY"
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

// whole reports whether the driver takes the picture for a good one.
func (b *v4l2Buffer) whole() bool { return b.flags&bufFlagError == 0 && b.bytesUsed > 0 }

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

// struct v4l2_query_ext_ctrl. Its 64 bits begin at a multiple of 8 bytes and so
// does what comes after it, so all compilers lay it out alike.
type v4l2QueryExtCtrl struct {
	id           uint32
	typ          uint32
	name         [32]byte
	minimum      int64
	maximum      int64
	step         uint64
	defaultValue int64
	flags        uint32
	elemSize     uint32 // bytes
	elems        uint32
	nrOfDims     uint32
	dims         [4]uint32
	_            [32]uint32
}

// struct v4l2_queryctrl
type v4l2QueryCtrl struct {
	id           uint32
	typ          uint32
	name         [32]byte
	minimum      int32
	maximum      int32
	step         int32
	defaultValue int32
	flags        uint32
	_            [2]uint32
}

// struct v4l2_querymenu
type v4l2QueryMenu struct {
	id    uint32
	index uint32
	name  [32]byte // in an integer menu the first 8 are the value: 64 bits, packed
	_     uint32
}

// struct v4l2_ext_control: packed, so its 64 bits are not aligned.
type v4l2ExtControl struct {
	id    uint32
	_     [2]uint32 // size, for what has no place in value
	value [2]uint32 // the lower half first; most controls have no other
}

// struct v4l2_ext_controls
type v4l2ExtControls struct {
	which     uint32 // the class of the controls
	count     uint32
	errorIdx  uint32
	requestFD int32
	_         uint32
	controls  *v4l2ExtControl
}

// v4l2DVTimings is struct v4l2_dv_timings, packed: what comes in through HDMI, which
// only the driver looks into.
type v4l2DVTimings [132]byte

// v4l2Std is v4l2_std_id, a set of standards of analog television as 64 bits.
type v4l2Std [2]uint32

// Request numbers: direction, size of the argument, 'V', number (_IOC in
// include/uapi/asm-generic/ioctl.h, which mips, powerpc and sparc do not use).
const (
	iocWrite = 1 << 30
	iocRead  = 2 << 30

	vidiocQueryCap  = iocRead | unsafe.Sizeof(v4l2Capability{})<<16 | 'V'<<8
	vidiocEnumFmt   = iocRead | iocWrite | unsafe.Sizeof(v4l2FmtDesc{})<<16 | 'V'<<8 | 2
	vidiocGFmt      = iocRead | iocWrite | unsafe.Sizeof(v4l2Format{})<<16 | 'V'<<8 | 4
	vidiocSFmt      = iocRead | iocWrite | unsafe.Sizeof(v4l2Format{})<<16 | 'V'<<8 | 5
	vidiocReqBufs   = iocRead | iocWrite | unsafe.Sizeof(v4l2RequestBuffers{})<<16 | 'V'<<8 | 8
	vidiocQueryBuf  = iocRead | iocWrite | unsafe.Sizeof(v4l2Buffer{})<<16 | 'V'<<8 | 9
	vidiocQBuf      = iocRead | iocWrite | unsafe.Sizeof(v4l2Buffer{})<<16 | 'V'<<8 | 15
	vidiocDQBuf     = iocRead | iocWrite | unsafe.Sizeof(v4l2Buffer{})<<16 | 'V'<<8 | 17
	vidiocStreamOn  = iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 18
	vidiocStreamOff = iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 19
	vidiocGParm     = iocRead | iocWrite | unsafe.Sizeof(v4l2StreamParm{})<<16 | 'V'<<8 | 21
	vidiocSParm     = iocRead | iocWrite | unsafe.Sizeof(v4l2StreamParm{})<<16 | 'V'<<8 | 22

	vidiocGInput = iocRead | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 38
	vidiocSInput = iocRead | iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 39

	vidiocQueryCtrl    = iocRead | iocWrite | unsafe.Sizeof(v4l2QueryCtrl{})<<16 | 'V'<<8 | 36
	vidiocQueryMenu    = iocRead | iocWrite | unsafe.Sizeof(v4l2QueryMenu{})<<16 | 'V'<<8 | 37
	vidiocGExtCtrls    = iocRead | iocWrite | unsafe.Sizeof(v4l2ExtControls{})<<16 | 'V'<<8 | 71
	vidiocSExtCtrls    = iocRead | iocWrite | unsafe.Sizeof(v4l2ExtControls{})<<16 | 'V'<<8 | 72
	vidiocQueryExtCtrl = iocRead | iocWrite | unsafe.Sizeof(v4l2QueryExtCtrl{})<<16 | 'V'<<8 | 103

	vidiocEnumFrameSizes     = iocRead | iocWrite | unsafe.Sizeof(v4l2FrmSizeEnum{})<<16 | 'V'<<8 | 74
	vidiocEnumFrameIntervals = iocRead | iocWrite | unsafe.Sizeof(v4l2FrmIvalEnum{})<<16 | 'V'<<8 | 75
	vidiocSubscribeEvent     = iocWrite | unsafe.Sizeof(v4l2EventSubscription{})<<16 | 'V'<<8 | 90

	vidiocSStd           = iocWrite | unsafe.Sizeof(v4l2Std{})<<16 | 'V'<<8 | 24
	vidiocQueryStd       = iocRead | unsafe.Sizeof(v4l2Std{})<<16 | 'V'<<8 | 63
	vidiocSDVTimings     = iocRead | iocWrite | unsafe.Sizeof(v4l2DVTimings{})<<16 | 'V'<<8 | 87
	vidiocQueryDVTimings = iocRead | unsafe.Sizeof(v4l2DVTimings{})<<16 | 'V'<<8 | 99
)

// requestNames are the names for errors.
var requestNames = map[uintptr]string{
	vidiocQueryCap:  "VIDIOC_QUERYCAP",
	vidiocEnumFmt:   "VIDIOC_ENUM_FMT",
	vidiocGFmt:      "VIDIOC_G_FMT",
	vidiocSFmt:      "VIDIOC_S_FMT",
	vidiocReqBufs:   "VIDIOC_REQBUFS",
	vidiocQueryBuf:  "VIDIOC_QUERYBUF",
	vidiocQBuf:      "VIDIOC_QBUF",
	vidiocDQBuf:     "VIDIOC_DQBUF",
	vidiocStreamOn:  "VIDIOC_STREAMON",
	vidiocStreamOff: "VIDIOC_STREAMOFF",
	vidiocGParm:     "VIDIOC_G_PARM",
	vidiocSParm:     "VIDIOC_S_PARM",

	vidiocGInput: "VIDIOC_G_INPUT",
	vidiocSInput: "VIDIOC_S_INPUT",

	vidiocQueryCtrl:    "VIDIOC_QUERYCTRL",
	vidiocQueryMenu:    "VIDIOC_QUERYMENU",
	vidiocGExtCtrls:    "VIDIOC_G_EXT_CTRLS",
	vidiocSExtCtrls:    "VIDIOC_S_EXT_CTRLS",
	vidiocQueryExtCtrl: "VIDIOC_QUERY_EXT_CTRL",

	vidiocEnumFrameSizes:     "VIDIOC_ENUM_FRAMESIZES",
	vidiocEnumFrameIntervals: "VIDIOC_ENUM_FRAMEINTERVALS",
	vidiocSubscribeEvent:     "VIDIOC_SUBSCRIBE_EVENT",

	vidiocSStd:           "VIDIOC_S_STD",
	vidiocQueryStd:       "VIDIOC_QUERYSTD",
	vidiocSDVTimings:     "VIDIOC_S_DV_TIMINGS",
	vidiocQueryDVTimings: "VIDIOC_QUERY_DV_TIMINGS",
}

// fourcc returns a pixel format as its four letters, "MJPG". One whose samples have
// the high byte first comes out as v4l2-ctl prints it, "Y16 -BE" (v4l2_fourcc_be),
// and what is no letter as the kernel does, as a point (%p4cc).
func fourcc(code uint32) string {
	var letters []byte
	for _, shift := range []int{0, 8, 16, 24} {
		letter := byte(code &^ bigEndian >> shift)
		if letter < ' ' || letter > '~' {
			letter = '.'
		}
		letters = append(letters, letter)
	}
	if code&bigEndian != 0 {
		return string(letters) + "-BE"
	}
	return strings.TrimRight(string(letters), " ")
}

const bigEndian = 1 << 31 // in a pixel format

// fourccCode is the reverse of fourcc (v4l2_fourcc).
func fourccCode(letters string) uint32 {
	return uint32(letters[0]) | uint32(letters[1])<<8 | uint32(letters[2])<<16 | uint32(letters[3])<<24
}

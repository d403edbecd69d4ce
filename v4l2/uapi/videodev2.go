//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package uapi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Constants of include/uapi/linux/videodev2.h.
const (
	V4L2_BUF_TYPE_VIDEO_CAPTURE        = 1
	V4L2_BUF_TYPE_VIDEO_OUTPUT         = 2
	V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE = 9
	V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE  = 10
	V4L2_MEMORY_MMAP                   = 1
	V4L2_FIELD_ANY                     = 0
	V4L2_FIELD_NONE                    = 1 // progressive

	VIDEO_MAX_PLANES = 8

	V4L2_COLORSPACE_JPEG        = 7
	V4L2_QUANTIZATION_DEFAULT   = 0
	V4L2_QUANTIZATION_LIM_RANGE = 2
	V4L2_PIX_FMT_PRIV_MAGIC     = 0xfeedcafe

	V4L2_CAP_VIDEO_CAPTURE        = 0x00000001
	V4L2_CAP_VIDEO_CAPTURE_MPLANE = 0x00001000
	V4L2_CAP_VIDEO_M2M_MPLANE     = 0x00004000
	V4L2_CAP_VIDEO_M2M            = 0x00008000
	V4L2_CAP_STREAMING            = 0x04000000
	V4L2_CAP_TOUCH                = 0x10000000
	V4L2_CAP_DEVICE_CAPS          = 0x80000000

	V4L2_CAP_TIMEPERFRAME = 0x1000 // in CaptureParm.Capability

	V4L2_FRMSIZE_TYPE_DISCRETE = 1
	V4L2_FRMIVAL_TYPE_DISCRETE = 1

	V4L2_EVENT_SOURCE_CHANGE = 5

	V4L2_BUF_FLAG_ERROR               = 0x0040
	V4L2_BUF_FLAG_TIMESTAMP_MASK      = 0xe000
	V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC = 0x2000
	V4L2_BUF_FLAG_TIMESTAMP_COPY      = 0x4000 // of the buffer that went in

	V4L2_CTRL_TYPE_INTEGER      = 1
	V4L2_CTRL_TYPE_BOOLEAN      = 2
	V4L2_CTRL_TYPE_MENU         = 3
	V4L2_CTRL_TYPE_INTEGER64    = 5
	V4L2_CTRL_TYPE_BITMASK      = 8
	V4L2_CTRL_TYPE_INTEGER_MENU = 9

	V4L2_CTRL_FLAG_DISABLED   = 0x0001
	V4L2_CTRL_FLAG_READ_ONLY  = 0x0004
	V4L2_CTRL_FLAG_INACTIVE   = 0x0010
	V4L2_CTRL_FLAG_WRITE_ONLY = 0x0040
	V4L2_CTRL_FLAG_NEXT_CTRL  = 0x80000000 // in the ID of a question: the control after that one

	V4L2_CTRL_CLASS_MASK = 0x0fff0000 // the class in a control's ID (V4L2_CTRL_ID2CLASS)

	V4L2_CID_HFLIP                  = 0x00980914
	V4L2_CID_VFLIP                  = 0x00980915
	V4L2_CID_EXPOSURE_ABSOLUTE      = 0x009a0902 // in units of 100 us
	V4L2_CID_EXPOSURE_AUTO_PRIORITY = 0x009a0903

	V4L2_CID_MPEG_VIDEO_BITRATE       = 0x009909cf // bits per second
	V4L2_CID_JPEG_COMPRESSION_QUALITY = 0x009d0903

	V4L2_SEL_TGT_CROP = 0
)

// Capability is struct v4l2_capability.
type Capability struct {
	Driver       [16]byte
	Card         [32]byte
	BusInfo      [32]byte
	Version      uint32
	Capabilities uint32 // of the whole device, all its nodes
	DeviceCaps   uint32 // of this node, with V4L2_CAP_DEVICE_CAPS
	_            [3]uint32
}

// FmtDesc is struct v4l2_fmtdesc.
type FmtDesc struct {
	Index       uint32
	Type        uint32
	Flags       uint32
	Description [32]byte
	PixelFormat uint32
	MbusCode    uint32
	_           [3]uint32
}

// PixFormat is struct v4l2_pix_format.
type PixFormat struct {
	Width        uint32 // pixels
	Height       uint32 // pixels
	PixelFormat  uint32
	Field        uint32
	BytesPerLine uint32
	SizeImage    uint32 // bytes
	Colorspace   uint32
	Priv         uint32 // V4L2_PIX_FMT_PRIV_MAGIC if the fields below mean something
	Flags        uint32
	YcbcrEnc     uint32
	Quantization uint32
	XferFunc     uint32
}

// PlanePixFormat is struct v4l2_plane_pix_format, packed.
type PlanePixFormat struct {
	SizeImage    uint32 // bytes
	BytesPerLine uint32
	_            [6]uint16
}

// PixFormatMplane is struct v4l2_pix_format_mplane, packed.
type PixFormatMplane struct {
	Width        uint32 // pixels
	Height       uint32 // pixels
	PixelFormat  uint32
	Field        uint32
	Colorspace   uint32
	Planes       [VIDEO_MAX_PLANES]PlanePixFormat
	NumPlanes    uint8
	Flags        uint8
	YcbcrEnc     uint8
	Quantization uint8
	XferFunc     uint8
	_            [7]uint8
}

// Format is struct v4l2_format. Its union contains pointers and has their alignment.
type Format struct {
	Type uint32
	_    [0]uintptr
	Pix  PixFormat
	_    [200 - unsafe.Sizeof(PixFormat{})]byte
}

// Mplane returns the member of the union for V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE. Its first
// four fields are those of Pix.
func (f *Format) Mplane() *PixFormatMplane { return (*PixFormatMplane)(unsafe.Pointer(&f.Pix)) }

// Fract is struct v4l2_fract.
type Fract struct {
	Numerator, Denominator uint32
}

// CaptureParm is struct v4l2_captureparm.
type CaptureParm struct {
	Capability   uint32
	CaptureMode  uint32
	TimePerFrame Fract // seconds
	ExtendedMode uint32
	ReadBuffers  uint32
	_            [4]uint32
}

// StreamParm is struct v4l2_streamparm. struct v4l2_outputparm, of the other direction, has the
// same layout.
type StreamParm struct {
	Type    uint32
	Capture CaptureParm
	_       [200 - unsafe.Sizeof(CaptureParm{})]byte
}

// Selection is struct v4l2_selection.
type Selection struct {
	Type          uint32
	Target        uint32
	Flags         uint32
	Left, Top     int32
	Width, Height uint32
	_             [9]uint32
}

// RequestBuffers is struct v4l2_requestbuffers.
type RequestBuffers struct {
	Count        uint32
	Type         uint32
	Memory       uint32
	Capabilities uint32
	Flags        uint8
	_            [3]uint8
}

// Timecode is struct v4l2_timecode.
type Timecode struct {
	Type     uint32
	Flags    uint32
	Frames   uint8
	Seconds  uint8
	Minutes  uint8
	Hours    uint8
	Userbits [4]uint8
}

// Plane is struct v4l2_plane.
type Plane struct {
	BytesUsed  uint32  // with what is in front of the data
	Length     uint32  // bytes
	MemOffset  uintptr // union m: unsigned long
	DataOffset uint32  // bytes
	_          [11]uint32
}

// Buffer is struct v4l2_buffer. On 32 bits it is the layout with 32 bits of time, of 68
// bytes, which every kernel knows. Kernels know the one with 64 bits of time, of 80
// bytes, since Linux 5.6.
type Buffer struct {
	Index     uint32
	Type      uint32
	BytesUsed uint32
	Flags     uint32
	Field     uint32
	Timestamp unix.Timeval
	Timecode  Timecode
	Sequence  uint32
	Memory    uint32
	Offset    uintptr // union m: unsigned long and, for several planes, a pointer to them
	Length    uint32  // bytes or, for several planes, their number
	_         uint32
	RequestFD int32
}

// BufferTime64 is struct v4l2_buffer on 32-bit ARM and RISC-V with 64 bits of
// time. Kernels without CONFIG_COMPAT_32BIT_TIME know no other.
type BufferTime64 struct {
	Index     uint32
	Type      uint32
	BytesUsed uint32
	Flags     uint32
	Field     uint32
	_         uint32 // C aligns 64 bits to 8 bytes there, and Go to 4
	Seconds   int64
	Micros    int64
	Timecode  Timecode
	Sequence  uint32
	Memory    uint32
	Offset    uintptr
	Length    uint32 // bytes
	_         uint32
	RequestFD int32
}

// TimeIs32 reports whether Buffer has 32 bits of time in this program.
const TimeIs32 = unsafe.Sizeof(unix.Timeval{}) == 8

// Set sets w to what b has.
func (w *BufferTime64) Set(b *Buffer) {
	*w = BufferTime64{
		Index: b.Index, Type: b.Type, BytesUsed: b.BytesUsed, Flags: b.Flags, Field: b.Field,
		Seconds: int64(b.Timestamp.Sec), Micros: int64(b.Timestamp.Usec),
		Timecode: b.Timecode, Sequence: b.Sequence, Memory: b.Memory,
		Offset: b.Offset, Length: b.Length, RequestFD: b.RequestFD,
	}
}

// Get sets b to what w has.
func (w *BufferTime64) Get(b *Buffer) {
	*b = Buffer{
		Index: w.Index, Type: w.Type, BytesUsed: w.BytesUsed, Flags: w.Flags, Field: w.Field,
		Timestamp: unix.NsecToTimeval(w.Seconds*1e9 + w.Micros*1e3),
		Timecode:  w.Timecode, Sequence: w.Sequence, Memory: w.Memory,
		Offset: w.Offset, Length: w.Length, RequestFD: w.RequestFD,
	}
}

// Time64Request returns the number that a request about a Buffer has when it is about a
// BufferTime64, which has another size.
func Time64Request(request uintptr) uintptr {
	return request&^(0x3fff<<16) | unsafe.Sizeof(BufferTime64{})<<16
}

// FrmSizeEnum is struct v4l2_frmsizeenum.
type FrmSizeEnum struct {
	Index       uint32
	PixelFormat uint32
	Type        uint32
	Width       uint32    // if Type is V4L2_FRMSIZE_TYPE_DISCRETE
	Height      uint32    // likewise
	_           [4]uint32 // otherwise the minimum, maximum and step of both
	_           [2]uint32
}

// FrmIvalEnum is struct v4l2_frmivalenum.
type FrmIvalEnum struct {
	Index       uint32
	PixelFormat uint32
	Width       uint32
	Height      uint32
	Type        uint32
	Interval    Fract     // seconds, if Type is V4L2_FRMIVAL_TYPE_DISCRETE
	_           [4]uint32 // otherwise the maximum and the step
	_           [2]uint32
}

// EventSubscription is struct v4l2_event_subscription.
type EventSubscription struct {
	Type  uint32
	ID    uint32
	Flags uint32
	_     [5]uint32
}

// QueryExtCtrl is struct v4l2_query_ext_ctrl. Its 64-bit fields begin at multiples of 8
// bytes, so all compilers lay it out alike.
type QueryExtCtrl struct {
	ID           uint32
	Type         uint32
	Name         [32]byte
	Minimum      int64
	Maximum      int64
	Step         uint64
	DefaultValue int64
	Flags        uint32
	ElemSize     uint32 // bytes
	Elems        uint32
	NrOfDims     uint32
	Dims         [4]uint32
	_            [32]uint32
}

// QueryCtrl is struct v4l2_queryctrl.
type QueryCtrl struct {
	ID           uint32
	Type         uint32
	Name         [32]byte
	Minimum      int32
	Maximum      int32
	Step         int32
	DefaultValue int32
	Flags        uint32
	_            [2]uint32
}

// QueryMenu is struct v4l2_querymenu.
type QueryMenu struct {
	ID    uint32
	Index uint32
	Name  [32]byte // the first 8 bytes are the value of an entry of an integer menu
	_     uint32
}

// ExtControl is struct v4l2_ext_control, which is packed: its 64 bits are not aligned.
type ExtControl struct {
	ID    uint32
	_     [2]uint32 // the size and, for values that do not fit into Value, their address
	Value [2]uint32 // the lower half first; most controls have only that
}

// ExtControls is struct v4l2_ext_controls.
type ExtControls struct {
	Which     uint32 // the class of the controls
	Count     uint32
	ErrorIdx  uint32
	RequestFD int32
	_         uint32
	Controls  *ExtControl
}

// DVTimings is struct v4l2_dv_timings, packed. It describes a signal of HDMI, and only
// drivers look into it.
type DVTimings [132]byte

// Std is v4l2_std_id, a set of standards of analog television as 64 bits.
type Std [2]uint32

// Request numbers consist of the direction, the size of the argument, the letter V and a
// number (_IOC in include/uapi/asm-generic/ioctl.h, which mips, powerpc and sparc do not
// use).
const (
	iocWrite = 1 << 30
	iocRead  = 2 << 30

	VIDIOC_QUERYCAP  = iocRead | unsafe.Sizeof(Capability{})<<16 | 'V'<<8
	VIDIOC_ENUM_FMT  = iocRead | iocWrite | unsafe.Sizeof(FmtDesc{})<<16 | 'V'<<8 | 2
	VIDIOC_G_FMT     = iocRead | iocWrite | unsafe.Sizeof(Format{})<<16 | 'V'<<8 | 4
	VIDIOC_S_FMT     = iocRead | iocWrite | unsafe.Sizeof(Format{})<<16 | 'V'<<8 | 5
	VIDIOC_REQBUFS   = iocRead | iocWrite | unsafe.Sizeof(RequestBuffers{})<<16 | 'V'<<8 | 8
	VIDIOC_QUERYBUF  = iocRead | iocWrite | unsafe.Sizeof(Buffer{})<<16 | 'V'<<8 | 9
	VIDIOC_QBUF      = iocRead | iocWrite | unsafe.Sizeof(Buffer{})<<16 | 'V'<<8 | 15
	VIDIOC_DQBUF     = iocRead | iocWrite | unsafe.Sizeof(Buffer{})<<16 | 'V'<<8 | 17
	VIDIOC_STREAMON  = iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 18
	VIDIOC_STREAMOFF = iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 19
	VIDIOC_G_PARM    = iocRead | iocWrite | unsafe.Sizeof(StreamParm{})<<16 | 'V'<<8 | 21
	VIDIOC_S_PARM    = iocRead | iocWrite | unsafe.Sizeof(StreamParm{})<<16 | 'V'<<8 | 22

	VIDIOC_G_INPUT = iocRead | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 38
	VIDIOC_S_INPUT = iocRead | iocWrite | unsafe.Sizeof(int32(0))<<16 | 'V'<<8 | 39

	VIDIOC_QUERYCTRL      = iocRead | iocWrite | unsafe.Sizeof(QueryCtrl{})<<16 | 'V'<<8 | 36
	VIDIOC_QUERYMENU      = iocRead | iocWrite | unsafe.Sizeof(QueryMenu{})<<16 | 'V'<<8 | 37
	VIDIOC_G_EXT_CTRLS    = iocRead | iocWrite | unsafe.Sizeof(ExtControls{})<<16 | 'V'<<8 | 71
	VIDIOC_S_EXT_CTRLS    = iocRead | iocWrite | unsafe.Sizeof(ExtControls{})<<16 | 'V'<<8 | 72
	VIDIOC_QUERY_EXT_CTRL = iocRead | iocWrite | unsafe.Sizeof(QueryExtCtrl{})<<16 | 'V'<<8 | 103

	VIDIOC_ENUM_FRAMESIZES     = iocRead | iocWrite | unsafe.Sizeof(FrmSizeEnum{})<<16 | 'V'<<8 | 74
	VIDIOC_ENUM_FRAMEINTERVALS = iocRead | iocWrite | unsafe.Sizeof(FrmIvalEnum{})<<16 | 'V'<<8 | 75
	VIDIOC_SUBSCRIBE_EVENT     = iocWrite | unsafe.Sizeof(EventSubscription{})<<16 | 'V'<<8 | 90

	VIDIOC_S_SELECTION = iocRead | iocWrite | unsafe.Sizeof(Selection{})<<16 | 'V'<<8 | 95

	VIDIOC_S_STD            = iocWrite | unsafe.Sizeof(Std{})<<16 | 'V'<<8 | 24
	VIDIOC_QUERYSTD         = iocRead | unsafe.Sizeof(Std{})<<16 | 'V'<<8 | 63
	VIDIOC_S_DV_TIMINGS     = iocRead | iocWrite | unsafe.Sizeof(DVTimings{})<<16 | 'V'<<8 | 87
	VIDIOC_QUERY_DV_TIMINGS = iocRead | unsafe.Sizeof(DVTimings{})<<16 | 'V'<<8 | 99
)

// RequestName returns the name of a request, "VIDIOC_QBUF", for errors.
func RequestName(request uintptr) string { return requestNames[request] }

var requestNames = map[uintptr]string{
	VIDIOC_QUERYCAP:  "VIDIOC_QUERYCAP",
	VIDIOC_ENUM_FMT:  "VIDIOC_ENUM_FMT",
	VIDIOC_G_FMT:     "VIDIOC_G_FMT",
	VIDIOC_S_FMT:     "VIDIOC_S_FMT",
	VIDIOC_REQBUFS:   "VIDIOC_REQBUFS",
	VIDIOC_QUERYBUF:  "VIDIOC_QUERYBUF",
	VIDIOC_QBUF:      "VIDIOC_QBUF",
	VIDIOC_DQBUF:     "VIDIOC_DQBUF",
	VIDIOC_STREAMON:  "VIDIOC_STREAMON",
	VIDIOC_STREAMOFF: "VIDIOC_STREAMOFF",
	VIDIOC_G_PARM:    "VIDIOC_G_PARM",
	VIDIOC_S_PARM:    "VIDIOC_S_PARM",

	VIDIOC_G_INPUT: "VIDIOC_G_INPUT",
	VIDIOC_S_INPUT: "VIDIOC_S_INPUT",

	VIDIOC_QUERYCTRL:      "VIDIOC_QUERYCTRL",
	VIDIOC_QUERYMENU:      "VIDIOC_QUERYMENU",
	VIDIOC_G_EXT_CTRLS:    "VIDIOC_G_EXT_CTRLS",
	VIDIOC_S_EXT_CTRLS:    "VIDIOC_S_EXT_CTRLS",
	VIDIOC_QUERY_EXT_CTRL: "VIDIOC_QUERY_EXT_CTRL",

	VIDIOC_ENUM_FRAMESIZES:     "VIDIOC_ENUM_FRAMESIZES",
	VIDIOC_ENUM_FRAMEINTERVALS: "VIDIOC_ENUM_FRAMEINTERVALS",
	VIDIOC_SUBSCRIBE_EVENT:     "VIDIOC_SUBSCRIBE_EVENT",

	VIDIOC_S_SELECTION: "VIDIOC_S_SELECTION",

	VIDIOC_S_STD:            "VIDIOC_S_STD",
	VIDIOC_QUERYSTD:         "VIDIOC_QUERYSTD",
	VIDIOC_S_DV_TIMINGS:     "VIDIOC_S_DV_TIMINGS",
	VIDIOC_QUERY_DV_TIMINGS: "VIDIOC_QUERY_DV_TIMINGS",

	MEDIA_IOC_G_TOPOLOGY: "MEDIA_IOC_G_TOPOLOGY",
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/v4l2/uapi"
)

// A FourCC is a pixel format: four letters, the first in the lowest byte.
type FourCC uint32

// MakeFourCC returns the pixel format with these letters, "MJPG" or "Y8" (v4l2_fourcc).
// It takes at most four.
func MakeFourCC(letters string) FourCC {
	const spaces = "    "
	b := (letters + spaces)[:4]
	return FourCC(b[0]) | FourCC(b[1])<<8 | FourCC(b[2])<<16 | FourCC(b[3])<<24
}

// bigEndian is set in formats whose samples have the high byte first (v4l2_fourcc_be).
const bigEndian = 1 << 31

// String returns the letters as v4l2-ctl prints them: "MJPG", "Y8", "Y16 -BE". A byte that
// is no printable ASCII becomes a point, as in the kernel's own messages (%p4cc).
func (f FourCC) String() string {
	var letters [4]byte
	for i := range letters {
		letter := byte(f &^ bigEndian >> (8 * i))
		if letter < ' ' || letter > '~' {
			letter = '.'
		}
		letters[i] = letter
	}
	if f&bigEndian != 0 {
		return string(letters[:]) + "-BE"
	}
	return strings.TrimRight(string(letters[:]), " ")
}

// Drivers exist whose lists do not end. These limits are more than a real one has.
const (
	maxFormats   = 128
	maxSizes     = 256
	maxIntervals = 256
)

// EnumFormats lists the pixel formats that the device captures (VIDIOC_ENUM_FMT). With an
// error it returns those before.
func (d *Device) EnumFormats() (formats []FourCC, err error) { return d.capture.enumFormats() }

func (q *queue) enumFormats() (formats []FourCC, err error) {
	for len(formats) < maxFormats {
		desc := uapi.FmtDesc{Index: uint32(len(formats)), Type: q.typ}
		err := q.device.ioctl(uapi.VIDIOC_ENUM_FMT, unsafe.Pointer(&desc))
		if errors.Is(err, unix.EINVAL) {
			break // past the last
		}
		if err != nil {
			return formats, err
		}
		formats = append(formats, FourCC(desc.PixelFormat))
	}
	return formats, nil
}

// A FrameSize is the size of a picture in pixels.
type FrameSize struct{ Width, Height int }

// EnumFrameSizes lists the sizes that the device has in a format
// (VIDIOC_ENUM_FRAMESIZES). The list is empty if there are too many to list, as with a
// device that scales pictures, or if the driver does not tell.
func (d *Device) EnumFrameSizes(format FourCC) (sizes []FrameSize) {
	for i := range uint32(maxSizes) {
		s := uapi.FrmSizeEnum{Index: i, PixelFormat: uint32(format)}
		if err := d.ioctl(uapi.VIDIOC_ENUM_FRAMESIZES, unsafe.Pointer(&s)); err != nil || s.Type != uapi.V4L2_FRMSIZE_TYPE_DISCRETE {
			break
		}
		sizes = append(sizes, FrameSize{int(s.Width), int(s.Height)})
	}
	return sizes
}

// NearestSizes sorts sizes, those first that differ least from want in width and height
// together.
func NearestSizes(sizes []FrameSize, want FrameSize) {
	distance := func(s FrameSize) int {
		return max(s.Width-want.Width, want.Width-s.Width) + max(s.Height-want.Height, want.Height-s.Height)
	}
	sort.SliceStable(sizes, func(i, j int) bool { return distance(sizes[i]) < distance(sizes[j]) })
}

// A PixFormat tells how pictures lie in memory: struct v4l2_pix_format or, with several planes
// of memory, struct v4l2_pix_format_mplane.
type PixFormat struct {
	PixelFormat FourCC
	FrameSize
	BytesPerLine [uapi.VIDEO_MAX_PLANES]int // of each plane of memory; some drivers leave it 0
	SizeImage    [uapi.VIDEO_MAX_PLANES]int // bytes of each plane of memory, at most

	// LimitedRange says that luminance, or red, green and blue, go from 16 to 235 only. If
	// the driver leaves the range to the colour space, it is so in all but JPEG's, and not
	// in RGB (V4L2_MAP_QUANTIZATION_DEFAULT). GREY is an exception: the kernel says that it
	// is limited, but cameras for infrared and sensors, which have it, use all values.
	// There the driver must say it.
	LimitedRange bool
}

// fullRange are formats whose samples have all values unless the driver says otherwise, of
// those that programs here use.
var fullRange = []string{"GREY", "RGB3", "BGR3", "RGBP"}

func (q *queue) newPixFormat(f *uapi.Format) PixFormat {
	raw := f.Pix
	p := PixFormat{
		PixelFormat: FourCC(raw.PixelFormat),
		FrameSize:   FrameSize{int(raw.Width), int(raw.Height)},
	}
	if q.mplane() {
		m := f.Mplane()
		for i, plane := range m.Planes[:min(m.NumPlanes, uapi.VIDEO_MAX_PLANES)] {
			p.BytesPerLine[i] = int(plane.BytesPerLine)
			p.SizeImage[i] = int(plane.SizeImage)
		}
		p.LimitedRange = isLimited(p.PixelFormat, m.Colorspace, uint32(m.Quantization))
		return p
	}
	p.BytesPerLine[0], p.SizeImage[0] = int(raw.BytesPerLine), int(raw.SizeImage)
	if raw.Priv != uapi.V4L2_PIX_FMT_PRIV_MAGIC {
		raw.Quantization = uapi.V4L2_QUANTIZATION_DEFAULT
	}
	p.LimitedRange = isLimited(p.PixelFormat, raw.Colorspace, raw.Quantization)
	return p
}

// isLimited returns PixFormat.LimitedRange.
func isLimited(format FourCC, colorspace, quantization uint32) bool {
	if quantization != uapi.V4L2_QUANTIZATION_DEFAULT {
		return quantization == uapi.V4L2_QUANTIZATION_LIM_RANGE
	}
	return colorspace != uapi.V4L2_COLORSPACE_JPEG && !slices.Contains(fullRange, format.String())
}

// Format returns the format that is set (VIDIOC_G_FMT).
func (d *Device) Format() (PixFormat, error) {
	f := uapi.Format{Type: d.capture.typ}
	err := d.ioctl(uapi.VIDIOC_G_FMT, unsafe.Pointer(&f))
	return d.capture.newPixFormat(&f), err
}

// SetFormat asks for a format and a size, and returns what the driver grants, which may be
// another format and another size (VIDIOC_S_FMT). EBUSY says that another program uses
// the device, or that this one has requested buffers already.
func (d *Device) SetFormat(format FourCC, size FrameSize) (PixFormat, error) {
	var f uapi.Format
	f.Pix.Field = uapi.V4L2_FIELD_ANY
	return d.capture.setFormat(f, format, size)
}

// setFormat completes f and sets it.
func (q *queue) setFormat(f uapi.Format, format FourCC, size FrameSize) (PixFormat, error) {
	f.Type = q.typ
	f.Pix.PixelFormat = uint32(format) // which is the same in Mplane, with the other fields here
	f.Pix.Width, f.Pix.Height = uint32(size.Width), uint32(size.Height)
	err := q.device.ioctl(uapi.VIDIOC_S_FMT, unsafe.Pointer(&f))
	return q.newPixFormat(&f), err
}

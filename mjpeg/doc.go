// Package mjpeg makes Motion JPEG, a sequence of JPEGs, of what cameras send.
//
// Most cameras send JPEGs that are not quite JPEGs: they leave out the Huffman tables,
// which Motion JPEG takes for granted, and pad the picture behind its end. Some JPEGs are
// spoiled on their way. A [Repairer] makes a whole JPEG of one, or reports that it is damaged.
//
// Other cameras send raw pictures. An [Encoder] makes baseline JPEGs of them, straight from
// the driver's memory. It works in 32-bit arithmetic, which is what an ARMv6 is good at, and
// on all cores. A Pi Zero takes 18 to 40 ms for a picture of 640x360 (emulated, at quality
// 80), and a third to a half more in RGB. These are the V4L2 pixel formats that it knows:
//
//	YUYV YVYU UYVY VYUY   luminance and chrominance in turn
//	NV12 NV21 NV16 NV61   in two planes, chrominance with half the rows or all
//	NM12 NM21 NM16 NM61   the same in two planes of memory
//	YU12 YV12             in three planes
//	YM12 YM21             the same in three planes of memory
//	RGB3 BGR3 RGBP        red, green and blue with 8 bits each, or with 5, 6 and 5
//	GREY                  luminance only
//
// Both turn pictures: an Encoder while it encodes, in about the same time, and a Repairer by an
// Exif orientation, which is up to the reader of the JPEG.
//
// The driver's memory may be uncached, where each load takes long. A Repairer and an Encoder
// read a picture there once, by whole words, and work on their copies.
//
// Where the board has an encoder, a [Copier] puts a raw picture into its memory, in the layout
// that it wants.
//
// Some programs write JPEGs one behind the other to a pipe. A [Splitter] cuts that into
// pictures.
//
//	encoder, err := mjpeg.NewEncoder(mjpeg.RawFormat{PixelFormat: "YUYV", Width: 640, Height: 480}, 80)
//	...
//	buf, err = encoder.Append(buf[:0], raw)
//
// All of them append to a buffer of the caller or return a part of their own, and
// allocate nothing per picture. A picture that is no good is [ErrDamaged]; none panics,
// whatever its bytes are. Section numbers in this package are those of ITU-T T.81.
package mjpeg

import "errors"

// ErrDamaged is the error of a picture that came and was no good. The next one may be.
var ErrDamaged = errors.New("damaged picture")

// A Damage is an error that matches ErrDamaged and says what is wrong with a picture.
type Damage string

func (d Damage) Error() string        { return "damaged picture: " + string(d) }
func (d Damage) Is(target error) bool { return target == ErrDamaged }

// What is wrong with pictures.
const (
	damageStart   = Damage("it does not start as a JPEG")
	damageHeader  = Damage("its header makes no sense")
	damageKind    = Damage("it is of a kind of JPEG that browsers do not show")
	damageSize    = Damage("its width or height is 0")
	damageScan    = Damage("it has no data")
	damageMarker  = Damage("there is a marker inside its data that cannot be there")
	damageRestart = Damage("restart markers are out of order")
	damageCut     = Damage("it is cut off")
	damageMissing = Damage("data is missing in it")
	damageExtra   = Damage("it has more data than fits its size")
	damageCode    = Damage("its data makes no sense")
)

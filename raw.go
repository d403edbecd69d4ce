package main

import (
	"image"
	"image/jpeg"
)

// An encoder makes JPEGs of raw pictures of one format and size.
type encoder struct {
	view   func(raw []byte) image.Image // of a picture that is long enough
	width  int                          // of the JPEGs, pixels
	length int                          // of a raw picture, bytes
	out    sliceWriter
	opts   jpeg.Options
}

// newEncoder returns an encoder for the V4L2 pixel format fourcc, or nil if
// it knows none. A row takes stride bytes, in planar formats one of luminance.
func newEncoder(fourcc string, width, height, stride, quality int) *encoder {
	row := width
	if fourcc == "YUYV" || fourcc == "UYVY" {
		row = 2 * width
	}
	stride = max(stride, row) // some drivers leave it 0
	if fourcc != "GREY" {
		width &^= 1 // chrominance comes for pairs of pixels
	}
	bounds := image.Rect(0, 0, width, height)
	e := &encoder{width: width, length: stride * height, opts: jpeg.Options{Quality: quality}}
	switch fourcc {
	case "YUYV":
		e.view = viewPacked(bounds, stride, 0, 1)
	case "UYVY":
		e.view = viewPacked(bounds, stride, 1, 0)
	case "NV12":
		e.length += stride * ((height + 1) / 2)
		e.view = viewNV12(bounds, stride)
	case "YU12":
		e.length += 2 * (stride / 2 * ((height + 1) / 2))
		e.view = viewYU12(bounds, stride)
	case "GREY":
		e.view = func(raw []byte) image.Image {
			return &image.Gray{Pix: raw, Stride: stride, Rect: bounds}
		}
	default:
		return nil
	}
	return e
}

// appendEncoded appends raw as a JPEG to dst. A picture that is too short is
// errDamaged.
func (e *encoder) appendEncoded(dst, raw []byte) ([]byte, error) {
	if len(raw) < e.length {
		return dst, errDamaged
	}
	e.out.b = dst
	err := jpeg.Encode(&e.out, e.view(raw), &e.opts)
	return e.out.b, err
}

// viewPacked unpacks 4:2:2 pictures: each two pixels are four bytes, of which
// those at y and y+2 are luminance, c is blue and c+2 red chrominance. The
// JPEG will have chrominance for every second row, so no more is unpacked.
func viewPacked(bounds image.Rectangle, stride, y, c int) func([]byte) image.Image {
	m := image.NewYCbCr(bounds, image.YCbCrSubsampleRatio420)
	pairs := bounds.Dx() / 2
	return func(raw []byte) image.Image {
		for row := range bounds.Dy() {
			line := raw[row*stride:]
			luma := m.Y[row*m.YStride:][:2*pairs]
			for i := range pairs {
				luma[2*i], luma[2*i+1] = line[4*i+y], line[4*i+y+2]
			}
			if row%2 != 0 {
				continue
			}
			blue := m.Cb[row/2*m.CStride:][:pairs]
			red := m.Cr[row/2*m.CStride:][:pairs]
			for i := range pairs {
				blue[i], red[i] = line[4*i+c], line[4*i+c+2]
			}
		}
		return m
	}
}

// viewNV12 splits 4:2:0 pictures: a plane of luminance, then one of blue and
// red chrominance in turn, half as high.
func viewNV12(bounds image.Rectangle, stride int) func([]byte) image.Image {
	height := bounds.Dy()
	m := image.NewYCbCr(bounds, image.YCbCrSubsampleRatio420)
	m.YStride = stride
	return func(raw []byte) image.Image {
		m.Y = raw
		for row := range (height + 1) / 2 {
			line := raw[(height+row)*stride:]
			for i := range m.CStride {
				m.Cb[row*m.CStride+i] = line[2*i]
				m.Cr[row*m.CStride+i] = line[2*i+1]
			}
		}
		return m
	}
}

// viewYU12 looks at 4:2:0 pictures where they lie: three planes, the ones of
// blue and red chrominance half as wide and high.
func viewYU12(bounds image.Rectangle, stride int) func([]byte) image.Image {
	m := &image.YCbCr{
		YStride:        stride,
		CStride:        stride / 2,
		SubsampleRatio: image.YCbCrSubsampleRatio420,
		Rect:           bounds,
	}
	luma := stride * bounds.Dy()
	chroma := m.CStride * ((bounds.Dy() + 1) / 2)
	return func(raw []byte) image.Image {
		m.Y = raw[:luma]
		m.Cb = raw[luma : luma+chroma]
		m.Cr = raw[luma+chroma : luma+2*chroma]
		return m
	}
}

// A sliceWriter appends what is written to b. It has the methods that spare
// image/jpeg a buffer of its own for each picture.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *sliceWriter) WriteByte(c byte) error {
	w.b = append(w.b, c)
	return nil
}

func (w *sliceWriter) Flush() error { return nil }

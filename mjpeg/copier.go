package mjpeg

import "errors"

// A Copier copies raw pictures from one layout in memory to another, for an encoder of the board:
// rows of another length, with more or less room behind them, in planes of memory of their own
// or in one. It turns black and white of television into those of JPEGs on the way.
type Copier struct {
	planes  []copiedPlane
	lengths [2][3]int // of the planes of memory, from and to, bytes
	row     []byte    // of a picture of limited range
}

type copiedPlane struct {
	from, to plane
	levels   *levels // nil: as they are
}

// levels are what bytes in even and in odd columns become.
type levels [2][256]byte

// SameSamples reports whether pictures of two pixel formats differ at most in the planes of
// memory that they lie in, as NV12 and NM12 do.
func SameSamples(format, other string) bool {
	a, b := findPixelFormat(format), findPixelFormat(other)
	if a == nil || b == nil {
		return false
	}
	same := *b
	same.name, same.apart = a.name, a.apart
	return *a == same
}

// NewCopier returns a Copier from one layout to another, of the same samples and size. The copy
// has full range.
func NewCopier(from, to RawFormat) (*Copier, error) {
	format, fromPlanes, fromSamples, err := from.layout()
	if err != nil {
		return nil, err
	}
	_, toPlanes, toSamples, err := to.layout()
	if err != nil {
		return nil, err
	}
	sameSize := fromSamples[0].width == toSamples[0].width && from.Height == to.Height
	if !sameSize || !SameSamples(from.PixelFormat, to.PixelFormat) {
		return nil, errors.New("the copy of a picture must have its pixels")
	}
	c := &Copier{}
	for i, p := range fromPlanes {
		one := copiedPlane{from: p, to: toPlanes[i]}
		if from.LimitedRange {
			one.levels = format.levels(i)
			c.row = make([]byte, max(len(c.row), (p.width+7)&^7))
		}
		c.planes = append(c.planes, one)
		for i, p := range []plane{one.from, one.to} {
			c.lengths[i][p.memory] = p.offset + (p.height-1)*p.stride + p.width
		}
	}
	return c, nil
}

// Copy copies a picture from some planes of memory to others. It returns ErrDamaged if one of
// them is too short, as one from a camera may be.
func (c *Copier) Copy(to, from [][]byte) error {
	if !fit(c.lengths[0], from) || !fit(c.lengths[1], to) {
		return damageCut
	}
	for i := range c.planes {
		p := &c.planes[i]
		p.copy(to[p.to.memory][p.to.offset:], from[p.from.memory][p.from.offset:], c.row)
	}
	return nil
}

// fit reports whether planes of memory have at least some lengths.
func fit(lengths [3]int, planes [][]byte) bool {
	for i, length := range lengths {
		if length > 0 && (i >= len(planes) || len(planes[i]) < length) {
			return false
		}
	}
	return true
}

// copy copies a plane, at once if its rows have the same length.
func (p *copiedPlane) copy(to, from, row []byte) {
	width, last := p.from.width, p.from.height-1
	if p.levels == nil && p.from.stride == p.to.stride {
		copy(to, from[:last*p.from.stride+width])
		return
	}
	for y := range p.from.height {
		source := from[y*p.from.stride:][:width]
		if p.levels != nil {
			copy(row, source) // for the same reason as in rowBuffer
			p.levels.convert(row[:(width+7)&^7])
			source = row[:width]
		}
		copy(to[y*p.to.stride:], source)
	}
}

// convert converts a row, whose length is a multiple of 8: by eight, which takes half the time.
func (l *levels) convert(row []byte) {
	even, odd := &l[0], &l[1]
	for len(row) >= 8 {
		r := (*[8]byte)(row)
		r[0], r[1], r[2], r[3] = even[r[0]], odd[r[1]], even[r[2]], odd[r[3]]
		r[4], r[5], r[6], r[7] = even[r[4]], odd[r[5]], even[r[6]], odd[r[7]]
		row = row[8:]
	}
}

// levels returns what the bytes of limited range in a plane stand for in full range: luminance
// and RGB go from 16 to 235, and chrominance from 16 to 240 (ITU-R BT.601). It is nil for RGB of
// 16 bits, which has no bytes that stand for something, and hardly ever limited range.
func (f *pixelFormat) levels(plane int) *levels {
	if f.rgb() && f.bytes == 2 {
		return nil
	}
	luma := [2]bool{true, true}
	switch {
	case f.planes == 1 && !f.grey():
		luma = [2]bool{f.y == 0, f.y == 1}
	case plane > 0:
		luma = [2]bool{}
	}
	all := &levels{}
	for column := range all {
		for v := range all[column] {
			full := (255*(v-16) + 219/2) / 219
			if !luma[column] {
				full = (255*(v-128) + 224*128 + 224/2) / 224
			}
			all[column][v] = byte(min(max(full, 0), 255))
		}
	}
	return all
}

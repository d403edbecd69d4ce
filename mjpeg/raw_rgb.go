package mjpeg

// layoutRGB is layout for RGB: the components are in the rows that convertRows makes.
func layoutRGB(width, height, stride, bytes int) ([]plane, []samples) {
	w, h := width/2, (height+1)/2
	return []plane{{stride: stride, height: height, rows: 16, width: width * bytes}},
		[]samples{{0, 0, width, 1, width, height}, {1, 0, w, 1, w, h}, {2, 0, w, 1, w, h}}
}

// convert makes rows of components of the RGB that was copied for some rows of MCUs.
func (e *Encoder) convert(b *rowBuffer, y, end int) {
	p, luma := &e.planes[0], &e.components[0]
	left, right, top, bottom, stride := 0, luma.width, 0, luma.height, p.copied
	if e.turn.transposed {
		left, right = span(right, 16, y, end, e.turn.mirrorX)
	} else {
		top, bottom = e.rowsOf(p, y)
		stride = p.stride
	}
	e.convertRows(b, right-left, bottom-top, stride)
	for i := range e.components {
		c := &e.components[i]
		b.bases[i] = (top*c.stride + left) * c.across / luma.across
	}
}

// convertRows makes rows of components of the rows of RGB in b.
func (e *Encoder) convertRows(b *rowBuffer, width, height, stride int) {
	rgb, luma, chroma := b.rows[0], e.components[0].stride, e.components[1].stride
	for row := 0; row < height; row += 2 {
		upper, lower := rgb[row*stride:], rgb[min(row+1, height-1)*stride:]
		if e.format.bytes == 2 {
			unpack565(b.unpacked[0], upper)
			unpack565(b.unpacked[1], lower)
			upper, lower = b.unpacked[0], b.unpacked[1]
		}
		y, c := row*luma, row/2*chroma
		convertRGB(b.ycc[0][y:], b.ycc[0][y+luma:], b.ycc[1][c:][:width/2], b.ycc[2][c:], upper, lower, e.format.red)
	}
	b.rows = b.ycc
}

// unpack565 makes pixels of three bytes, red first, of those of 16 bits, little endian, of
// which red has the high 5 and green 6.
func unpack565(rgb, packed []byte) {
	for i, at := 0, 0; i+2 < len(rgb); i, at = i+3, at+2 {
		v := uint32(packed[at]) | uint32(packed[at+1])<<8
		rgb[i] = byte(v>>8&0xf8 | v>>13)
		rgb[i+1] = byte(v>>3&0xfc | v>>9&3)
		rgb[i+2] = byte(v<<3&0xf8 | v>>2&7)
	}
}

// convertRGB makes luminance and chrominance of two rows of RGB (JFIF 1.02), of which red is
// the first byte or the third. Chrominance is the mean of four pixels. The factors
// have 16 bits behind the point.
func convertRGB(y0, y1, cb, cr, upper, lower []byte, red int) {
	blue := 2 - red
	for x := range cb {
		p, q := (*[6]byte)(upper[6*x:]), (*[6]byte)(lower[6*x:])
		r0, g0, b0 := int32(p[red]), int32(p[1]), int32(p[blue])
		r1, g1, b1 := int32(p[3+red]), int32(p[4]), int32(p[3+blue])
		r2, g2, b2 := int32(q[red]), int32(q[1]), int32(q[blue])
		r3, g3, b3 := int32(q[3+red]), int32(q[4]), int32(q[3+blue])
		y0[2*x], y0[2*x+1] = luma(r0, g0, b0), luma(r1, g1, b1)
		y1[2*x], y1[2*x+1] = luma(r2, g2, b2), luma(r3, g3, b3)
		r, g, b := r0+r1+r2+r3, g0+g1+g2+g3, b0+b1+b2+b3
		const middle = 128<<18 + 1<<17 - 1 // the largest result is not 256
		cb[x] = byte((middle - 11059*r - 21709*g + 32768*b) >> 18)
		cr[x] = byte((middle + 32768*r - 27439*g - 5329*b) >> 18)
	}
}

func luma(r, g, b int32) byte { return byte((19595*r + 38470*g + 7471*b + 1<<15) >> 16) }

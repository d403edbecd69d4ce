package mjpeg

// A turn tells how a picture is turned: it is mirrored first, and then its columns become rows.
//
// Blocks are read as they lie in memory, in another order. A mirrored block has the same
// coefficients with other signs, and one whose columns have become rows has them in other places
// (A.3.3): the quantizer sees to that, at no cost.
type turn struct {
	mirrorX, mirrorY bool // the last column, the last row comes first
	transposed       bool
}

// newTurn returns the turn for an Exif orientation (Exif 2.3, tag 0112): 3 is half a turn, 6 a
// quarter clockwise, and 8 one counterclockwise. 2, 4, 5 and 7 are mirrored.
func newTurn(orientation int) turn {
	is := func(orientations int) bool { return orientations>>orientation&1 != 0 }
	return turn{
		mirrorX:    is(1<<2 | 1<<3 | 1<<7 | 1<<8),
		mirrorY:    is(1<<3 | 1<<4 | 1<<6 | 1<<7),
		transposed: is(1<<5 | 1<<6 | 1<<7 | 1<<8),
	}
}

// source returns where a component begins to have a block of the turned picture, in samples. A block
// that is partly beyond the edge may begin there.
func (t *turn) source(s *samples, column, row int) (x, y int) {
	if t.transposed {
		column, row = row, column
	}
	x, y = 8*column, 8*row
	if t.mirrorX {
		x = s.width - 8 - x
	}
	if t.mirrorY {
		y = s.height - 8 - y
	}
	return x, y
}

// A point is a column and a row.
type point struct{ x, y int }

// placeBlocks says where the blocks of an MCU are.
func (t *turn) placeBlocks(c *component) {
	c.wholeX, c.wholeY = uint(max(c.width-7, 0)), uint(max(c.height-7, 0))
	left, top := t.source(&c.samples, 0, 0)
	for i := range c.across * c.down {
		x, y := t.source(&c.samples, i%c.across, i/c.across)
		c.blocks = append(c.blocks, point{x - left, y - top})
	}
}

// span returns the part of a length that a row of MCUs takes up to another, each of a size.
func span(length, size, first, end int, mirrored bool) (from, to int) {
	from, to = first*size, end*size
	if mirrored {
		from, to = length-to, length-from
	}
	return max(from, 0), min(to, length)
}

// columnsAtOnce is how many columns of MCUs are copied at once. One takes 8 to 48 bytes of a row, for
// which a call takes longer than the copy.
const columnsAtOnce = 4

// layOutColumns says how the columns that are copied lie in a rowBuffer.
func (e *Encoder) layOutColumns() {
	for i := range e.components {
		c := &e.components[i]
		if e.format.rgb() {
			c.stride = columnsAtOnce * 8 * c.across
			continue
		}
		p := &e.planes[c.plane]
		p.setColumns(8 * c.across * c.step)
		c.stride = c.stride / p.stride * p.copied
	}
	if e.format.rgb() {
		e.planes[0].setColumns(16 * e.format.bytes)
	}
}

// setColumns sets the bytes of each row that belong to a column of MCUs. Rows are copied to where
// they have the same alignment, with room for the bytes around them that make whole words.
func (p *plane) setColumns(columns int) {
	p.columns = columns
	p.copied = columnsAtOnce*columns + wordAlignment + p.stride&(wordAlignment-1)
}

// loadColumns copies the columns that some MCUs take.
func (e *Encoder) loadColumns(b *rowBuffer, first, end int) {
	for i := range e.planes {
		p := &e.planes[i]
		from, to := span(p.width, p.columns, first, end, e.turn.mirrorX)
		raw, dst := e.raw[p.memory], b.copies[i]
		at := p.offset + from
		begin := at & (wordAlignment - 1)
		b.rows[i], b.bases[i] = dst[begin:], from
		for range p.height {
			aligned := at &^ (wordAlignment - 1)
			copy(dst[begin&^(wordAlignment-1):], raw[aligned:min((at+to-from+wordAlignment-1)&^(wordAlignment-1), len(raw))])
			at += p.stride
			begin += p.copied
		}
	}
}

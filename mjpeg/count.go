package mjpeg

import "bytes"

const (
	// maxExtra is how many bytes may come between the last block and a marker, besides
	// zeros. Some cameras send a few too many.
	maxExtra = 8

	// maxBlocks is the most blocks that an MCU has (B.2.3).
	maxBlocks = 10
)

// countable reports whether the blocks in the data of a scan can be counted. A refining scan
// needs all coefficients of the scans before it for that.
func (s *scan) countable() bool {
	return !s.arithmetic && !(s.refining && s.first > 0)
}

// countScan goes through the data of a scan, to the next marker behind it, and counts the
// blocks. There must be as many as the size of the picture takes and, between restart markers,
// as many as DRI says. It returns where the last block ends.
func (r *Repairer) countScan(s *scan) (end int, err error) {
	r.blocks = r.appendBlocks(r.blocks[:0], s)
	for left, restarts := s.mcus, 0; ; restarts++ {
		mcus := left
		if r.interval > 0 {
			mcus = min(left, r.interval)
		}
		d := bitReader{data: r.jpeg, pos: r.pos}
		if err := d.skipMCUs(mcus, r.blocks, s); err != nil {
			return 0, r.damageAt(d.pos, err)
		}
		end = d.offset()
		r.pos = findMarker(r.jpeg, end)
		if extra := bytes.Trim(r.jpeg[end:r.pos], "\x00\xff"); len(extra) > maxExtra && r.pos < len(r.jpeg) {
			return 0, damageExtra
		}
		if left -= mcus; left == 0 {
			return end, nil
		}
		if r.pos == len(r.jpeg) || r.jpeg[r.pos+1] != markerRST|byte(restarts&7) {
			return 0, r.damageAt(r.pos, damageRestart)
		}
		r.pos += 2
	}
}

// damageAt returns what is wrong with data that ends at an offset, too early or in a way that
// err tells.
func (r *Repairer) damageAt(pos int, err error) error {
	pos = findMarker(r.jpeg, pos)
	if pos == len(r.jpeg) {
		return damageCut
	}
	if marker := r.jpeg[pos+1]; !isRestart(marker) && !mayFollowScan(marker) {
		return damageMarker
	}
	return err
}

// A block is 64 coefficients of a component. An MCU has one or more of each.
type block struct {
	dc, ac *huffmanTable
}

// appendBlocks appends the blocks of an MCU.
func (r *Repairer) appendBlocks(blocks []block, s *scan) []block {
	for _, c := range s.components() {
		n := 1
		if s.count > 1 {
			n = c.h * c.v
		}
		dc, ac := &r.tables[0][c.dc], &r.tables[1][c.ac]
		for range n {
			blocks = append(blocks, block{dc, ac})
		}
	}
	return blocks
}

// beyond is added to a bitReader's bits when there are no more: zeros follow then.
const beyond = 1 << 24

// A bitReader reads entropy-coded data.
type bitReader struct {
	data  []byte
	pos   int    // in data, of the next byte; at the end, of the marker there
	word  uint32 // the next bits, from the top; zeros follow them
	bits  int    // in word; negative: so many are still to be skipped
	ended bool   // a marker has come, or the end of data
}

// isShort reports whether more was read than there is.
func (d *bitReader) isShort() bool { return d.ended && d.bits < beyond }

// fill takes bytes until there are 17 bits.
func (d *bitReader) fill() {
	for d.bits < 17 {
		if d.pos == len(d.data) {
			d.end()
			return
		}
		b, next := d.data[d.pos], d.pos+1
		if b == 0xff {
			for next < len(d.data) && d.data[next] == 0xff { // fill (B.1.1.2)
				next++
			}
			if next == len(d.data) || d.data[next] != 0 {
				d.end()
				return
			}
			next++ // 00 behind FF is no data (F.1.2.3)
		}
		d.word |= uint32(b) << uint(24-d.bits) // 0 if all of it is to be skipped
		d.bits += 8
		d.pos = next
	}
}

func (d *bitReader) end() {
	d.ended = true
	d.bits += beyond
}

// offset returns the offset of the first byte that was not used.
func (d *bitReader) offset() int {
	unused := d.bits
	if d.ended {
		unused -= beyond
	}
	pos := d.pos
	for ; unused >= 8; unused -= 8 {
		pos--
		if d.data[pos] == 0 && d.data[pos-1] == 0xff {
			pos--
		}
	}
	return pos
}

// take returns the next n bits, up to 16.
func (d *bitReader) take(n int) uint32 {
	d.fill()
	b := d.word >> 1 >> (uint(31-n) & 31)
	d.drop(n)
	return b
}

// drop drops the next n bits, up to 31, after fill.
func (d *bitReader) drop(n int) {
	d.word <<= uint(n) & 31
	d.bits -= n
}

// skipMCUs skips the data of MCUs.
func (d *bitReader) skipMCUs(n int, blocks []block, s *scan) error {
	skip := d.skipBlocks
	switch {
	case s.last == 0 && s.refining:
		skip = d.skipRefinedDC
	case s.last == 0:
		skip = d.skipDC
	case s.first > 0:
		return d.skipAC(n, blocks[0].ac, s)
	}
	for range n {
		if err := skip(blocks); err != nil {
			return err
		}
		if d.isShort() {
			return damageMissing
		}
	}
	return nil
}

// skipBlocks skips blocks of sequential pictures (F.2.2). Nearly all of the time that counting
// takes is spent in its loop.
func (d *bitReader) skipBlocks(blocks []block) error {
	word, bits := d.word, d.bits
	for i := range blocks {
		table := blocks[i].dc
		for left := 64; left > 0; table = blocks[i].ac {
			for bits < 17 {
				if next := d.pos + 2; next <= len(d.data) && d.data[next-2] != 0xff && d.data[next-1] != 0xff {
					word |= (uint32(d.data[next-2])<<8 | uint32(d.data[next-1])) << (uint(16-bits) & 31)
					bits += 16
					d.pos = next
				} else {
					d.word, d.bits = word, bits
					d.fill()
					word, bits = d.word, d.bits
				}
			}
			e := int(table.lookup[word>>(32-lookupBits)])
			n := e >> coefficientShift
			if n&^blockEnds > left { // some of the symbols belong to the next block, or there is none
				e, _ = table.symbol(word)
				if n = e >> coefficientShift; n&^blockEnds > left {
					return damageCode
				}
			}
			word <<= uint(e) & entryBits
			bits -= e & entryBits
			if n >= blockEnds {
				break
			}
			left -= n
		}
	}
	d.word, d.bits = word, bits
	return nil
}

// skipSymbol skips a symbol and the bits that belong to it, and returns how many coefficients
// it stands for.
func (d *bitReader) skipSymbol(table *huffmanTable) int {
	d.fill()
	e, _ := table.symbol(d.word)
	d.drop(e & entryBits)
	return e >> coefficientShift
}

// skipDC skips the upper bits of the first coefficients of blocks (G.1.2.1).
func (d *bitReader) skipDC(blocks []block) error {
	for _, b := range blocks {
		if d.skipSymbol(b.dc) > 1 {
			return damageCode
		}
	}
	return nil
}

// skipRefinedDC skips one more bit of the first coefficients of blocks.
func (d *bitReader) skipRefinedDC(blocks []block) error {
	d.take(len(blocks))
	return nil
}

// skipAC skips the upper bits of other coefficients of n blocks (G.1.2.2).
func (d *bitReader) skipAC(n int, table *huffmanTable, s *scan) error {
	for ; n > 0; n-- {
		for left := s.last - s.first + 1; left > 0; {
			d.fill()
			symbol, length := table.code(d.word)
			if length == 0 {
				return damageCode
			}
			d.drop(length)
			zeros, size := int(symbol>>4), int(symbol&15)
			if size == 0 && zeros < 15 { // the blocks up to the end of the band, 2^zeros and more
				n -= 1<<zeros + int(d.take(zeros)) - 1
				break
			}
			d.take(size)
			if left -= zeros + 1; left < 0 {
				return damageCode
			}
		}
		if d.isShort() {
			return damageMissing
		}
	}
	if n < 0 {
		return damageCode
	}
	return nil
}

package mjpeg

import "math/bits"

// huffmanCodes has for each symbol, in the low symbolBits, its code with zeros behind it
// for the bits that follow, and above that the number of all these bits.
//
// A symbol is the number of bits of a coefficient that follow, plus 16 times the number of
// zero coefficients before that one (F.1.2).
type huffmanCodes [256]uint32

// symbolBits is the most bits that a symbol takes: a code of 16, and 10 that follow.
const symbolBits = 26

// maxBits is the most bits that a coefficient can have, unless it is the first of its block
// (F.1.2.2). Samples beyond black and white, in pictures with the range of television, can
// make it 1188, which has one more.
const maxBits = 10

// Symbols without a coefficient.
const (
	endOfBlock   = 0x00 // the other coefficients are zeros
	sixteenZeros = 0xf0
)

// parseHuffmanTables reads the tables of a DHT segment. It has for each a class and number
// (1 byte), 16 counts of codes by length, and their symbols (B.2.4.2 and annex C).
func parseHuffmanTables(segment []byte) (tables [4]huffmanCodes) {
	b := segment[4:] // marker and length
	for i := range tables {
		counts := b[1:17]
		b = b[17:]
		code := uint32(0)
		for n, count := range counts {
			for _, symbol := range b[:count] {
				more := uint32(symbol & 15)
				tables[i][symbol] = (uint32(n+1)+more)<<symbolBits | code<<more
				code++
			}
			code <<= 1
			b = b[count:]
		}
	}
	return tables
}

// A bitWriter appends bits to out, in words of 32.
type bitWriter struct {
	out  []byte
	word uint32 // its low 32-free bits come next; those above were written already
	free uint32 // 1 to 32
}

// put appends the low n bits of b, whose other bits are zeros. n is at most symbolBits.
func (w *bitWriter) put(b, n uint32) {
	if n < w.free {
		w.word = w.word<<n | b
		w.free -= n
		return
	}
	w.spill(b, n)
}

// spill is put for bits that fill the word, or more than that.
func (w *bitWriter) spill(b, n uint32) {
	n -= w.free
	word := w.word<<w.free | b>>n
	w.word, w.free = b, 32-n
	if (^word-0x01010101)&word&0x80808080 != 0 { // one of the bytes is FF
		w.stuff(word, 32)
		return
	}
	w.out = append(w.out, byte(word>>24), byte(word>>16), byte(word>>8), byte(word))
}

// stuff appends the low n bits of word, which are whole bytes, with 00 behind each FF:
// otherwise that would begin a marker.
func (w *bitWriter) stuff(word, n uint32) {
	for n > 0 {
		n -= 8
		b := byte(word >> n)
		w.out = append(w.out, b)
		if b == 0xff {
			w.out = append(w.out, 0)
		}
	}
}

// flush appends the bits that are left, with ones to fill the last byte. Nothing can be
// appended after that.
func (w *bitWriter) flush() {
	w.put(0x7f, 7)
	n := (32 - w.free) &^ 7
	w.stuff(w.word>>(32-w.free-n), n)
}

// putBlock appends a block. Its first coefficient must already be the difference to that of
// the block before (F.1.2).
func (w *bitWriter) putBlock(c *coefficients, dc, ac *huffmanCodes) {
	codes := dc
	last := -1
	for i, nonzero := range c.nonzero {
		for nonzero != 0 {
			n := bits.LeadingZeros32(nonzero)
			nonzero &^= 1 << 31 >> (uint8(n) & 31)
			at := 32*i + n
			zeros := at - last - 1
			last = at
			for ; zeros >= 16; zeros -= 16 {
				w.put(ac[sixteenZeros]&(1<<symbolBits-1), ac[sixteenZeros]>>symbolBits)
			}
			// As many bits follow as its absolute value has: its lowest ones or, if it
			// is negative, those of one less.
			v := c.values[at&63]
			sign := v >> 31
			unused := bits.LeadingZeros32(uint32(v ^ sign - sign))
			low := uint32(v+sign) << uint8(unused) >> uint8(unused)
			code := codes[(zeros<<4|(32-unused))&0xff]
			if code == 0 { // it is larger than a JPEG can have
				code = codes[(zeros<<4|maxBits)&0xff]
				low = uint32(sign+1) * (1<<maxBits - 1)
			}
			w.put(code&(1<<symbolBits-1)|low, code>>symbolBits)
			codes = ac
		}
	}
	if last < 63 {
		w.put(ac[endOfBlock]&(1<<symbolBits-1), ac[endOfBlock]>>symbolBits)
	}
}

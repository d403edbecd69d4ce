package main

import "math/bits"

// huffmanCodes has for each symbol, in the low symbolBits, its code, and room
// behind it for the bits that go with it; above them, how many bits that makes.
//
// A symbol is how many bits of a coefficient go with it, plus 16 times how many
// zeros come before that one (T.81, F.1.2).
type huffmanCodes [256]uint32

// symbolBits is how many bits a symbol can make: a code of 16, and 10.
const symbolBits = 26

// maxBits is how many bits of a coefficient, if it is not the first of its block, can
// go with a symbol (T.81, F.1.2.2). Samples beyond black and white, of pictures with
// the range of television, can make it 1188, which has one more.
const maxBits = 10

// Symbols without a coefficient.
const (
	endOfBlock   = 0x00 // the others are zeros
	sixteenZeros = 0xf0
)

// parseHuffmanTables takes the tables out of a DHT segment, which has for each
// a class and number (1 byte), 16 counts of codes by length, and their symbols
// (T.81, B.2.4.2 and annex C).
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
	word uint32 // its low 32-free bits are next, what is above them is gone
	free uint32 // 1 to 32
}

// put appends the low n of b, of which the others are zeros. n is at most
// symbolBits.
func (w *bitWriter) put(b, n uint32) {
	if n < w.free {
		w.word = w.word<<n | b
		w.free -= n
		return
	}
	w.spill(b, n)
}

// spill is put for what fills the word, or more than that.
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

// stuff appends the low n bits of word, whole bytes, with 00 behind each FF:
// else that would begin a marker.
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

// flush appends what is left, with ones to fill the last byte. Nothing can be
// appended after that.
func (w *bitWriter) flush() {
	w.put(0x7f, 7)
	n := (32 - w.free) &^ 7
	w.stuff(w.word>>(32-w.free-n), n)
}

// block appends a block, of which the first coefficient must already be the
// difference to that of the one before (T.81, F.1.2).
func (w *bitWriter) block(c *coefficients, dc, ac *huffmanCodes) {
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
			// As many bits go with it as its absolute value has, the lowest of
			// itself; of one less if it is negative.
			v := c.values[at&63]
			sign := v >> 31
			unused := bits.LeadingZeros32(uint32(v ^ sign - sign))
			low := uint32(v+sign) << uint8(unused) >> uint8(unused)
			code := codes[(zeros<<4|(32-unused))&0xff]
			if code == 0 { // more than a JPEG can have
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

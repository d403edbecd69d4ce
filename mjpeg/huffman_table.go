package mjpeg

import "bytes"

// lookupBits is how many bits are looked up at a time. Most codes are shorter, and many
// coefficients with their codes.
const lookupBits = 10

// An entry of a lookup table says what to skip: bits, and coefficients.
const (
	entryBits        = 31     // mask of the number of bits
	blockEnds        = 1 << 5 // the last symbol was the end of the block; it counts as a coefficient
	coefficientShift = 6
)

// A huffmanTable tells the codes in entropy-coded data apart.
type huffmanTable struct {
	// spec has 16 counts of codes by length, and the symbols, as DHT does (B.2.4.2). It is nil
	// if this picture does not have the table.
	spec []byte

	// lookup has entries for all that the next lookupBits can be: for as many symbols as
	// are whole there, whose last may have more bits behind its code. 0: none is.
	lookup [1 << lookupBits]uint16
	made   []byte // the spec that lookup was made from
}

// define sets the codes: counts and symbols. They stay valid until the next picture. It is
// false if there are more codes than can be told apart, or one has ones only (annex C).
func (t *huffmanTable) define(spec []byte) bool {
	codes := 0
	for i, count := range spec[:16] {
		if codes = 2*codes + int(count); codes >= 2<<i {
			return false
		}
	}
	t.spec = spec
	return true
}

// prepare makes lookup. With the tables of the picture before, which most cameras send, that
// is done.
func (t *huffmanTable) prepare(class int) {
	if bytes.Equal(t.made, t.spec) {
		return
	}
	t.made = append(t.made[:0], t.spec...)
	for i := range t.lookup {
		word := uint32(i) << (32 - lookupBits)
		t.lookup[i] = uint16(t.symbols(word, class))
	}
}

// symbols returns the entry for all symbols whose codes are whole in the upper lookupBits of
// word.
func (t *huffmanTable) symbols(word uint32, class int) (entry int) {
	for used := 0; used < lookupBits; used = entry & entryBits {
		e, length := t.symbol(word<<used, class)
		if e == 0 || used+length > lookupBits {
			break
		}
		entry += e
		if class == 0 || e&blockEnds != 0 {
			break // the symbol after that has another table
		}
	}
	return entry
}

// symbol returns the entry for the first symbol in word, and the length of its code; 0 if
// there is none with these bits.
func (t *huffmanTable) symbol(word uint32, class int) (entry, length int) {
	symbol, length := t.code(word)
	zeros, size := int(symbol>>4), int(symbol&15)
	switch {
	case length == 0, class == 0 && zeros > 0:
		return 0, 0
	case class == 0:
		return 1<<coefficientShift | length + size, length
	case size == 0 && symbol != sixteenZeros:
		return 1<<coefficientShift | blockEnds | length, length
	}
	return (zeros+1)<<coefficientShift | length + size, length
}

// code returns the symbol whose code word begins with, and the length of that; 0 if there is
// none (F.2.2.3).
func (t *huffmanTable) code(word uint32) (symbol byte, length int) {
	first, index := uint32(0), 0 // the first code of a length, and the index of its symbol
	for i, count := range t.spec[:16] {
		code := word >> (31 - i)
		if code-first < uint32(count) {
			return t.spec[16+index+int(code-first)], i + 1
		}
		first = (first + uint32(count)) << 1
		index += int(count)
	}
	return 0, 0
}

package mjpeg

import (
	"bytes"
	"slices"
)

// lookupBits is how many bits are looked up at a time. Most codes are shorter, and many
// coefficients with their codes.
const lookupBits = 10

// An entry of a lookup table says what to skip: bits and, from coefficientShift on,
// coefficients.
const (
	entryBits        = 31 // mask of the number of bits
	coefficientShift = 5

	blockEnds = 256 // is added if the last symbol ends the block, and counts as a coefficient
	noSymbol  = 65  // in place of coefficients, more than a block has: there is no symbol
)

// A huffmanTable tells the codes in entropy-coded data apart.
type huffmanTable struct {
	// spec has 16 counts of codes by length, and the symbols, as DHT does (B.2.4.2). It is nil
	// if this picture does not have the table.
	spec  []byte
	class int // 0 for DC, 1 for AC

	// lookup has entries for all that the next lookupBits can be: for as many symbols as
	// are whole there, whose last may have more bits behind its code.
	lookup [1 << lookupBits]uint16
	made   []byte // the spec that lookup was made from
}

// define sets the codes of a table of a class, which stay valid until the next picture. It is
// false if there are more codes than can be told apart, if one has ones only (annex C), or if a
// symbol for DC is too large (F.1.2.1).
func (t *huffmanTable) define(class int, spec []byte) bool {
	codes := 0
	for i, count := range spec[:16] {
		if codes = 2*codes + int(count); codes >= 2<<i {
			return false
		}
	}
	if class == 0 && slices.ContainsFunc(spec[16:], func(symbol byte) bool { return symbol > 15 }) {
		return false
	}
	t.class, t.spec = class, spec
	return true
}

// prepare makes lookup. With the tables of the picture before, which most cameras send, that
// is done.
func (t *huffmanTable) prepare() {
	if bytes.Equal(t.made, t.spec) {
		return
	}
	t.made = append(t.made[:0], t.spec...)
	for i := range t.lookup {
		word := uint32(i) << (32 - lookupBits)
		t.lookup[i] = uint16(t.symbols(word))
	}
}

// symbols returns the entry for all symbols whose codes are whole in the upper lookupBits of
// word.
func (t *huffmanTable) symbols(word uint32) int {
	entry := 0
	for used := 0; used < lookupBits; used = entry & entryBits {
		e, length := t.symbol(word << used)
		if length == 0 || used+length > lookupBits {
			break
		}
		entry += e
		if t.class == 0 || e>>coefficientShift >= blockEnds {
			break // the symbol after that has another table
		}
	}
	if entry == 0 {
		return noSymbol << coefficientShift
	}
	return entry
}

// symbol returns the entry for the first symbol in word, and the length of its code; 0 if
// there is none with these bits.
func (t *huffmanTable) symbol(word uint32) (entry, length int) {
	symbol, length := t.code(word)
	zeros, size := int(symbol>>4), int(symbol&15)
	switch {
	case length == 0, t.class == 0 && zeros > 0:
		return noSymbol << coefficientShift, 0
	case t.class == 0:
		return 1<<coefficientShift | length + size, length
	case size == 0 && symbol != sixteenZeros:
		return (blockEnds+1)<<coefficientShift | length, length
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

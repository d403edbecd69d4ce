package mjpeg

import (
	"bytes"
	"unsafe"
)

// indexFF returns the offset of the first FF in b, or -1 if there is none. It looks at four
// bytes at a time, which takes a third of the time of bytes.IndexByte on an ARMv6.
func indexFF(b []byte) int {
	const word = 4
	begin := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % word) // of whole words
	if begin > len(b) {
		return bytes.IndexByte(b, 0xff)
	}
	if i := bytes.IndexByte(b[:begin], 0xff); i >= 0 {
		return i
	}
	words := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b[begin:]))), (len(b)-begin)/word)
	end := begin
	for _, w := range words {
		// A byte has its upper bit set here and in w if it was FF, or if the one below
		// was.
		if (w&0x7f7f7f7f+0x01010101)&w&0x80808080 != 0 {
			break
		}
		end += word
	}
	if i := bytes.IndexByte(b[end:], 0xff); i >= 0 {
		return end + i
	}
	return -1
}

package mjpeg

import "unsafe"

// indexFF returns the offset of the first FF in b, or -1 if there is none. It looks at 16
// bytes at a time, which takes a third of the time of bytes.IndexByte on an ARMv6.
func indexFF(b []byte) int {
	i := 0
	for ; i < len(b) && uintptr(unsafe.Pointer(&b[i]))%4 != 0; i++ {
		if b[i] == 0xff {
			return i
		}
	}
	for ; i+16 <= len(b); i += 16 {
		w := (*[4]uint32)(unsafe.Pointer(&b[i]))
		if (allOnes(w[0])|allOnes(w[1])|allOnes(w[2])|allOnes(w[3]))&0x01010101 != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] == 0xff {
			return i
		}
	}
	return -1
}

// allOnes returns a word with the lowest bit of each byte set that is FF in w. The other
// bits mean nothing.
func allOnes(w uint32) uint32 {
	w &= w >> 4
	w &= w >> 2
	return w & (w >> 1)
}

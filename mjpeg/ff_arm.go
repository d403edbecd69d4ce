package mjpeg

import "unsafe"

// indexFF returns the offset of the first FF in b, or -1 if there is none. It looks at 32
// bytes at a time, which takes a quarter of the time of bytes.IndexByte on an ARMv6.
func indexFF(b []byte) int {
	i := 0
	for ; i < len(b) && uintptr(unsafe.Pointer(&b[i]))%4 != 0; i++ {
		if b[i] == 0xff {
			return i
		}
	}
	for ; i+32 <= len(b); i += 32 {
		w := (*[8]uint32)(unsafe.Pointer(&b[i]))
		if (allOnes(w[0])|allOnes(w[1])|allOnes(w[2])|allOnes(w[3])|
			allOnes(w[4])|allOnes(w[5])|allOnes(w[6])|allOnes(w[7]))&lowerBits != 0 {
			break
		}
	}
	for ; i+4 <= len(b) && allOnes(*(*uint32)(unsafe.Pointer(&b[i])))&lowerBits == 0; i += 4 {
	}
	for ; i < len(b); i++ {
		if b[i] == 0xff {
			return i
		}
	}
	return -1
}

// lowerBits has the lowest bit of each byte.
const lowerBits = 0x01010101

// allOnes returns a word in which the lowest bit of each byte is set that is FF in w. The
// other bits mean nothing.
func allOnes(w uint32) uint32 {
	w &= w >> 4
	w &= w >> 2
	return w & (w >> 1)
}

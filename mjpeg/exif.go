package mjpeg

import "bytes"

// exifHeader is what an Exif APP1 segment begins with, behind its length (Exif 2.3, section 4.7.2).
// A byte follows that should be 0.
const exifHeader = "Exif\x00"

// exifOrientation is an Exif APP1 segment that has nothing but an orientation, yet to be put in.
const exifOrientation = "\xff\xe1\x00\x22" + exifHeader + "\x00" +
	"MM\x00\x2a\x00\x00\x00\x08" + // big endian; the first directory is 8 bytes from here
	"\x00\x01" + // one entry in it:
	"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00" + // Orientation, SHORT, one; the value in 2 of 4 bytes
	"\x00\x00\x00\x00" // no other directory

// exifRoom is how many bytes more a picture has for its orientation.
func (r *Repairer) exifRoom() int {
	if r.Orientation > 1 {
		return len(exifOrientation)
	}
	return 0
}

// putOrientation puts SOI and the orientation where there is room for the one and SOI for now.
func (r *Repairer) putOrientation() {
	if r.Orientation > 1 {
		b := append(r.jpeg[:r.start], 0xff, markerSOI)
		b = append(b, exifOrientation...)
		b[len(b)-7] = byte(r.Orientation) // 4 bytes for the value, 4 for the next directory
	}
}

// isOtherExif reports whether a segment tells an orientation that is not to be told.
func (r *Repairer) isOtherExif(marker byte, segment []byte) bool {
	return r.Orientation > 0 && marker == markerAPP+1 && bytes.HasPrefix(segment, []byte(exifHeader))
}

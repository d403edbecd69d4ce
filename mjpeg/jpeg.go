package mjpeg

import "bytes"

// JPEG markers: the second byte, after FF (table B.1).
const (
	markerSOF = 0xc0 // start of a frame, baseline: its size and components
	markerDHT = 0xc4 // Huffman tables
	markerRST = 0xd0 // a restart inside a scan, the first of eight
	markerSOI = 0xd8 // start of the image
	markerEOI = 0xd9 // end of the image
	markerSOS = 0xda // start of a scan: a header, then the entropy-coded data
	markerDQT = 0xdb // quantization tables
	markerDRI = 0xdd // restart interval, in MCUs
	markerTEM = 0x01 // temporary, for arithmetic coding
)

// AppendRepaired appends a picture to dst as a whole JPEG: without the bytes that pad it
// behind its end, and with the Huffman tables that many USB cameras omit. It returns dst
// and ErrDamaged if the picture does not start or end as a JPEG does.
func AppendRepaired(dst, picture []byte) ([]byte, error) {
	scan, hasTables := findScan(picture)
	if scan < 0 {
		return dst, ErrDamaged
	}
	// In entropy-coded data, 00 or a restart marker follows FF (F.1.2.3), so behind SOS
	// only the end itself looks like EOI.
	end := bytes.LastIndex(picture[scan:], []byte{0xff, markerEOI})
	if end < 0 {
		return dst, ErrDamaged
	}
	end += scan + 2
	if hasTables {
		return append(dst, picture[:end]...), nil
	}
	dst = append(dst, picture[:scan]...)
	dst = append(dst, huffmanTables...)
	return append(dst, picture[scan:end]...), nil
}

// Pad makes a JPEG n bytes longer: FF may be repeated in front of a marker, here EOI
// (B.1.1.2). It returns picture as it is if that does not end as a JPEG does.
func Pad(picture []byte, n int) []byte {
	if !bytes.HasSuffix(picture, []byte{0xff, markerEOI}) {
		return picture
	}
	picture = picture[:len(picture)-1]
	for range n {
		picture = append(picture, 0xff)
	}
	return append(picture, markerEOI)
}

// findScan goes through the marker segments up to the first scan. It returns the offset of
// its SOS marker, or -1 if there is none, and whether Huffman tables come before it.
//
// A segment is FF, a marker, the length of the rest (2 bytes, big endian, including
// themselves), and content. FF may be repeated as fill (B.1.1.2).
func findScan(b []byte) (scan int, hasTables bool) {
	if len(b) < 2 || b[0] != 0xff || b[1] != markerSOI {
		return -1, false
	}
	for i := 2; i+4 <= len(b) && b[i] == 0xff; {
		switch marker := b[i+1]; marker {
		case markerSOS:
			return i, hasTables
		case 0xff:
			i++
			continue
		case markerSOI, markerEOI, markerTEM, 0x00:
			return -1, false
		case markerDHT:
			hasTables = true
		}
		length := int(b[i+2])<<8 | int(b[i+3])
		if length < 2 {
			return -1, false
		}
		i += 2 + length
	}
	return -1, false
}

// huffmanTables is a DHT segment with the typical tables for 8-bit samples (K.3.3), which
// are those of Motion JPEG that has none.
var huffmanTables = []byte("\xff\xc4\x01\xa2" +
	// luminance DC: 16 counts of codes by length, then the symbols
	"\x00\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b" +
	// luminance AC
	"\x10\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d" +
	"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
	"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
	"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
	"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
	"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
	"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
	"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
	"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
	"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
	"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
	"\xf9\xfa" +
	// chrominance DC
	"\x01\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00" +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b" +
	// chrominance AC
	"\x11\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77" +
	"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
	"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
	"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
	"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
	"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
	"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
	"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
	"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
	"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
	"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
	"\xf9\xfa")

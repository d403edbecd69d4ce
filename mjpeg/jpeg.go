package mjpeg

import "bytes"

// JPEG markers: the second byte, after FF (table B.1).
const (
	markerTEM  = 0x01 // temporary, for arithmetic coding
	markerSOF  = 0xc0 // start of a frame, baseline: its size and components
	markerSOF1 = 0xc1 // the same, extended sequential
	markerSOF2 = 0xc2 // progressive
	markerDHT  = 0xc4 // Huffman tables
	markerSOF9 = 0xc9 // sequential, with arithmetic coding
	markerSOFA = 0xca // progressive, with arithmetic coding
	markerDAC  = 0xcc // conditions of arithmetic coding
	markerSOFF = 0xcf // the last start of a frame
	markerRST  = 0xd0 // a restart inside a scan, the first of eight
	markerSOI  = 0xd8 // start of the image
	markerEOI  = 0xd9 // end of the image
	markerSOS  = 0xda // start of a scan: a header, then the entropy-coded data
	markerDQT  = 0xdb // quantization tables
	markerDRI  = 0xdd // restart interval, in MCUs
	markerAPP  = 0xe0 // for applications, the first of sixteen
	markerCOM  = 0xfe // a comment
)

// isRestart reports whether a marker is one of the eight restart markers.
func isRestart(marker byte) bool { return marker&^7 == markerRST }

// isAlone reports whether a marker has no length and nothing behind it. EOI and SOI do not
// either, but mean something.
func isAlone(marker byte) bool { return isRestart(marker) || marker == markerTEM }

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

// typicalTable returns the counts and symbols of a typical table, as a DHT segment has them.
// Tables with other numbers than 0 are those for chrominance.
func typicalTable(class, number int) []byte {
	const dc, ac = 1 + 16 + 12, 1 + 16 + 162 // lengths
	at := 4
	if number > 0 {
		at += dc + ac
	}
	if class == 0 {
		return huffmanTables[at+1 : at+dc]
	}
	return huffmanTables[at+dc+1 : at+dc+ac]
}

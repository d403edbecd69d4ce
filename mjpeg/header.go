package mjpeg

import "slices"

// A header is what the segments of a picture have said so far.
type header struct {
	kind          byte // the marker of the frame header; 0 before that
	width, height int  // pixels
	hmax, vmax    int  // the largest sampling factors of all components
	all           [4]frameComponent
	count         int   // of components
	quantization  uint8 // a bit for each quantization table that is there
	interval      int   // MCUs between two restart markers; 0: there are none
	scanned       uint8 // a bit for each component of which a scan has come
	scan          scan  // the last
}

// A frameComponent is a colour of the picture, as SOF tells (B.2.2).
type frameComponent struct {
	index        int // among all components
	id           byte
	h, v         int // sampling factors, 1 to 4
	quantization byte
	dc, ac       byte // numbers of the Huffman tables, in a scan (B.2.3)
}

// A scan is what SOS tells of one (B.2.3).
type scan struct {
	parts  [4]frameComponent
	count  int // of components
	mcus   int // that its data has
	blocks int // of each MCU

	first, last int  // coefficients that it has: 0 to 63, unless the picture is progressive
	refining    bool // an earlier scan had the upper bits of these
	arithmetic  bool // no Huffman codes
}

func (s *scan) components() []frameComponent { return s.parts[:s.count] }

// progressive reports whether the picture is sent in scans of some coefficients each.
func (h *header) progressive() bool {
	return h.kind == markerSOF2 || h.kind == markerSOFA
}

// parse reads a segment that is not the header of a scan.
func (r *Repairer) parse(marker byte, segment []byte) error {
	switch {
	case marker == markerDHT:
		return r.parseTables(segment)
	case marker == markerDQT:
		return r.parseQuantization(segment)
	case marker == markerDRI:
		if len(segment) != 2 {
			return damageHeader
		}
		r.interval = int(segment[0])<<8 | int(segment[1])
	case marker == markerDAC, marker == markerCOM, marker&^15 == markerAPP:
	case marker >= markerSOF && marker <= markerSOFF:
		return r.parseFrame(marker, segment)
	default:
		return damageMarker
	}
	return nil
}

// parseFrame reads a frame header (B.2.2).
func (r *Repairer) parseFrame(marker byte, b []byte) error {
	if r.kind != 0 {
		return damageMarker
	}
	switch marker {
	case markerSOF, markerSOF1, markerSOF2, markerSOF9, markerSOFA:
	default:
		return damageKind
	}
	if len(b) < 6 || len(b) != 6+3*int(b[5]) || b[5] == 0 || b[5] > 4 {
		return damageHeader
	}
	r.kind = marker
	r.height, r.width = int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	if r.height == 0 || r.width == 0 {
		return damageSize
	}
	r.count = int(b[5])
	for i := range r.count {
		part := b[6+3*i:]
		c := frameComponent{index: i, id: part[0], h: int(part[1] >> 4), v: int(part[1] & 15), quantization: part[2]}
		if min(c.h, c.v) < 1 || max(c.h, c.v) > 4 || c.quantization > 3 {
			return damageHeader
		}
		r.all[i] = c
		r.hmax, r.vmax = max(r.hmax, c.h), max(r.vmax, c.v)
	}
	return nil
}

// parseQuantization reads quantization tables: each has its precision and number (1 byte), and
// 64 values of 1 or 2 bytes (B.2.4.1).
func (r *Repairer) parseQuantization(b []byte) error {
	for len(b) > 0 {
		length := 1 + 64*(1+int(b[0]>>4))
		if b[0]>>4 > 1 || b[0]&15 > 3 || length > len(b) {
			return damageHeader
		}
		r.quantization |= 1 << (b[0] & 15)
		b = b[length:]
	}
	return nil
}

// parseTables reads Huffman tables: each has its class and number (1 byte), 16 counts of
// codes by length, and the symbols (B.2.4.2).
func (r *Repairer) parseTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return damageHeader
		}
		length := 17
		for _, count := range b[1:17] {
			length += int(count)
		}
		if length > len(b) || length > 17+256 {
			return damageHeader
		}
		class, number := int(b[0]>>4), b[0]&15
		if !r.tables[class][number].define(class, b[1:length]) {
			return damageHeader
		}
		b = b[length:]
	}
	return nil
}

// parseScan reads the header of a scan (B.2.3).
func (r *Repairer) parseScan(b []byte) (*scan, error) {
	if r.kind == 0 || len(b) < 1 || b[0] == 0 || int(b[0]) > r.count || len(b) != 4+2*int(b[0]) {
		return nil, damageHeader
	}
	s := &r.scan
	*s = scan{count: int(b[0]), last: 63, arithmetic: r.kind == markerSOF9 || r.kind == markerSOFA}
	for i := range s.count {
		id, tables := b[1+2*i], b[2+2*i]
		n := slices.IndexFunc(r.all[:r.count], func(c frameComponent) bool { return c.id == id })
		if n < 0 || tables>>4 > 3 || tables&15 > 3 || r.quantization&(1<<r.all[n].quantization) == 0 {
			return nil, damageHeader
		}
		s.parts[i] = r.all[n]
		s.parts[i].dc, s.parts[i].ac = tables>>4, tables&15
	}
	if end := b[len(b)-3:]; r.progressive() {
		s.first, s.last, s.refining = int(end[0]), int(end[1]), end[2]>>4 > 0
		if s.last > 63 || s.first > s.last || s.first == 0 && s.last > 0 || s.first > 0 && s.count > 1 {
			return nil, damageHeader
		}
	}
	r.layOut(s)
	if s.blocks > maxBlocks {
		return nil, damageHeader
	}
	return s, nil
}

// layOut works out how many MCUs the data of a scan has, and how many blocks each of them
// (A.2).
func (h *header) layOut(s *scan) {
	if s.count == 1 {
		c := s.parts[0]
		s.blocks = 1
		s.mcus = ceilDiv(ceilDiv(h.width*c.h, h.hmax), 8) * ceilDiv(ceilDiv(h.height*c.v, h.vmax), 8)
		return
	}
	for _, c := range s.components() {
		s.blocks += c.h * c.v
	}
	s.mcus = ceilDiv(h.width, 8*h.hmax) * ceilDiv(h.height, 8*h.vmax)
}

// ceilDiv returns a/b, rounded up.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// leastData returns the least number of bytes that the data of a scan takes, with any tables.
// A block takes a bit for its first coefficient and one for the others.
func (s *scan) leastData() int {
	switch {
	case s.arithmetic:
		return 0
	case s.first > 0: // a symbol can stand for 32767 blocks
		return 1
	case s.last > 0:
		return ceilDiv(2*s.mcus*s.blocks, 8)
	}
	return ceilDiv(s.mcus*s.blocks, 8)
}

// checkScans reports an error if there is a component of which no scan has come.
func (h *header) checkScans() error {
	if h.kind == 0 || h.scanned != 1<<h.count-1 {
		return damageScan
	}
	return nil
}

package mjpeg

import (
	"bytes"
	"slices"
)

const (
	// countedFirst is how many pictures a new Repairer counts, and countedAfter how many
	// after a damaged one: what a camera sends in a minute or two. Of all others it counts
	// one in countedRest.
	countedFirst = 30
	countedAfter = 1800
	countedRest  = 128

	// maxGaps is how many times bytes that do not belong there are taken out of a
	// picture. With more of them, it is noise.
	maxGaps = 8
)

// A Repairer makes whole JPEGs of the pictures of a camera, and finds those that are damaged.
// Its zero value is ready to use.
//
// Append goes from marker to marker and checks that each may be where it is, that restart
// markers come in order and none is missing, that the size is there, and what each scan needs.
// That finds most of what happens to a picture on its way, and costs little. A hole in the
// data of a scan has no such sign. To find it, Append counts the blocks that the
// Huffman-coded data holds. That takes twenty times as long, so it does it for the first
// pictures of a camera, for one in 128 after that, and for all pictures for a minute or two
// after a damaged one. Data with arithmetic coding, and the refining scans of progressive
// pictures, are not counted.
type Repairer struct {
	// Orientation is the Exif orientation, from 1 to 8, that all pictures get, whatever they
	// say themselves: an Exif segment of theirs is taken out. With 1 they have none, and with
	// 0 they keep theirs.
	Orientation int

	jpeg  []byte // ends with the picture
	start int    // of the picture in jpeg
	pos   int    // in jpeg, of what comes next
	gaps  int    // bytes were taken out so many times

	header
	counts  bool // the blocks of this picture
	whole   int  // where the data ends of a picture that has all its blocks; 0: not known
	toCount int  // pictures that are still to be counted
	since   int  // pictures since one was counted
	started bool // a picture has come

	tables [2][4]huffmanTable // by class, DC and AC, and number
	blocks []block            // of an MCU that is counted
	added  []byte             // a segment with tables that were not there
}

// Append appends a picture to dst as a whole JPEG. It leaves out what is in front of the
// picture, between the segments of its header, and behind its end. It puts in the Huffman
// tables that many USB cameras omit, and the end if all the data is there. If the picture is
// damaged, Append returns dst and an error that matches ErrDamaged and says in what way.
func (r *Repairer) Append(dst, picture []byte) ([]byte, error) {
	r.start = len(dst)
	room := r.exifRoom()
	r.jpeg = append(append(dst, exifOrientation[:room]...), trimZeros(picture)...)
	start := bytes.Index(r.jpeg[r.start+room:], []byte{0xff, markerSOI})
	if start < 0 {
		r.Suspect()
		return r.jpeg[:len(dst)], damageStart
	}
	r.jpeg = slices.Delete(r.jpeg, r.start, r.start+start)
	r.putOrientation()
	r.counts = r.isToBeCounted()
	err := r.walk()
	if err != nil && !r.counts {
		r.counts = true // it may have all its blocks, and something odd behind them
		if r.walk() == nil {
			err = nil
		}
	}
	if err != nil {
		r.Suspect()
		return r.jpeg[:len(dst)], err
	}
	return r.jpeg, nil
}

// Size returns the size of the last picture in pixels. It is for a picture that was whole.
func (r *Repairer) Size() (width, height int) { return r.width, r.height }

// trimZeros leaves out zeros at the end, but for one, which may be the last byte of data.
// With them, a picture that was cut off could seem to have all its data. It looks at a copy
// of some bytes at a time, for the same reason as rowBuffer.
func trimZeros(b []byte) []byte {
	var block [64]byte
	end := len(b)
	for from := end; from > 0 && from == end; {
		from = (end - 1) &^ (len(block) - 1)
		n := copy(block[:], b[from:end])
		end = from + len(bytes.TrimRight(block[:n], "\x00"))
	}
	return b[:min(end+1, len(b))]
}

// Suspect says that the camera has sent a damaged picture, so that the next ones are counted.
// Append calls it itself. The caller does when it knows of a damaged one from elsewhere.
func (r *Repairer) Suspect() {
	r.toCount = countedAfter
}

// isToBeCounted reports whether the next picture is to be counted.
func (r *Repairer) isToBeCounted() bool {
	if !r.started {
		r.started = true
		r.toCount = max(r.toCount, countedFirst)
	}
	r.since++
	if r.toCount == 0 && r.since < countedRest {
		return false
	}
	r.toCount = max(r.toCount-1, 0)
	r.since = 0
	return true
}

// walk goes through the picture from its start to its end, and mends it on the way. Once all
// its blocks were counted it is whole, whatever is wrong behind them.
func (r *Repairer) walk() error {
	r.pos, r.whole, r.gaps = r.start+2+r.exifRoom(), 0, 0
	r.header = header{}
	for class := range r.tables {
		for i := range r.tables[class] {
			r.tables[class][i].spec = nil
		}
	}
	err := r.walkSegments()
	if err != nil && r.whole > 0 {
		r.jpeg = append(r.jpeg[:r.whole], 0xff, markerEOI)
		return nil
	}
	return err
}

// walkSegments goes through the segments up to EOI, and cuts off what is behind that.
func (r *Repairer) walkSegments() error {
	for {
		marker, err := r.nextMarker()
		if err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			r.jpeg = r.jpeg[:r.pos]
			return r.checkScans()
		case isAlone(marker):
			continue // and means nothing here
		}
		segment, err := r.nextSegment()
		if err != nil {
			return err
		}
		switch {
		case marker == markerSOS:
			err = r.walkScan(segment)
		case r.isOtherExif(marker, segment):
			from := r.pos - len(segment) - 4
			r.jpeg = slices.Delete(r.jpeg, from, r.pos)
			r.pos = from
		default:
			err = r.parse(marker, segment)
		}
		if err != nil {
			return err
		}
	}
}

// findMarker returns the offset in b of the next marker from an offset on: of FF and something
// else than 00, which is data (F.1.2.3), and FF, which is fill (B.1.1.2). Without one it is the
// end of b.
func findMarker(b []byte, from int) int {
	for {
		i := indexFF(b[from:])
		if i < 0 || from+i+1 == len(b) {
			return len(b)
		}
		from += i
		switch b[from+1] {
		case 0:
			from += 2
		case 0xff:
			from++
		default:
			return from
		}
	}
}

// nextMarker returns the next marker and goes behind it. It takes out what is in front of
// that.
func (r *Repairer) nextMarker() (byte, error) {
	from := r.pos
	r.pos = findMarker(r.jpeg, from)
	if r.pos == len(r.jpeg) {
		return 0, r.cutOff()
	}
	if err := r.takeOut(from); err != nil {
		return 0, err
	}
	r.pos += 2
	return r.jpeg[r.pos-1], nil
}

// takeOut takes the bytes from an offset to the marker at pos out of the picture, if they are not
// fill.
func (r *Repairer) takeOut(from int) error {
	to := r.pos
	for to > from && r.jpeg[to-1] == 0xff {
		to-- // fill in front of the marker
	}
	for from < to && r.jpeg[from] == 0xff {
		from++
	}
	if from == to {
		return nil
	}
	if r.gaps++; r.gaps > maxGaps {
		return damageHeader
	}
	r.jpeg = slices.Delete(r.jpeg, from, to)
	r.pos -= to - from
	return nil
}

// nextSegment returns what is in a segment behind its length, which is 2 bytes, big endian,
// including themselves.
func (r *Repairer) nextSegment() ([]byte, error) {
	rest := r.jpeg[r.pos:]
	if len(rest) < 2 {
		return nil, r.cutOff()
	}
	length := int(rest[0])<<8 | int(rest[1])
	if length < 2 {
		return nil, damageHeader
	}
	if length > len(rest) {
		return nil, r.cutOff()
	}
	r.pos += length
	return rest[2:length], nil
}

// cutOff is the error of a picture whose bytes end too soon.
func (r *Repairer) cutOff() error {
	if r.scanned == 0 {
		return damageHeader
	}
	return damageCut
}

// walkScan goes through a scan: its header, and its data.
func (r *Repairer) walkScan(segment []byte) error {
	s, err := r.parseScan(segment)
	if err != nil {
		return err
	}
	r.addTables(s, r.pos-len(segment)-4)
	if !r.counts || !s.countable() {
		if err := r.walkData(s); err != nil {
			return err
		}
		r.noteScan(s)
		return nil
	}
	end, err := r.countScan(s)
	if err != nil {
		return err
	}
	r.noteScan(s)
	if !r.progressive() && r.checkScans() == nil {
		r.whole = end
	}
	return nil
}

// noteScan notes that a scan of some components has come.
func (h *header) noteScan(s *scan) {
	if s.first > 0 {
		return
	}
	for _, c := range s.components() {
		h.scanned |= 1 << c.index
	}
}

// addTables puts the Huffman tables that a scan needs and that are not there in front of its
// header, which begins at an offset.
func (r *Repairer) addTables(s *scan, at int) {
	if s.arithmetic {
		return
	}
	var needed [2]uint8 // by class: a bit for each number
	for _, c := range s.components() {
		if s.first == 0 && !s.refining {
			needed[0] |= 1 << c.dc
		}
		if s.last > 0 {
			needed[1] |= 1 << c.ac
		}
	}
	r.added = append(r.added[:0], 0xff, markerDHT, 0, 0)
	for number := range 4 {
		for class := range 2 {
			table := &r.tables[class][number]
			if needed[class]&(1<<number) == 0 {
				continue
			}
			if table.spec == nil {
				table.define(class, typicalTable(class, number))
				r.added = append(append(r.added, byte(class<<4|number)), table.spec...)
			}
			if r.counts {
				table.prepare()
			}
		}
	}
	if length := len(r.added) - 2; length > 2 {
		r.added[2], r.added[3] = byte(length>>8), byte(length)
		r.jpeg = slices.Insert(r.jpeg, at, r.added...)
		r.pos += len(r.added)
	}
}

// walkData goes through the data of a scan, to the next marker behind it.
func (r *Repairer) walkData(s *scan) error {
	begin, restarts := r.pos, 0
	for {
		r.pos = findMarker(r.jpeg, r.pos)
		if r.pos == len(r.jpeg) {
			return damageCut
		}
		switch marker := r.jpeg[r.pos+1]; {
		case isRestart(marker):
			if r.interval == 0 || marker != markerRST|byte(restarts&7) {
				return damageRestart
			}
			restarts++
			r.pos += 2
		case !mayFollowScan(marker):
			return damageMarker
		case r.interval > 0 && restarts < (s.mcus-1)/r.interval, r.pos-begin < s.leastData():
			return damageMissing
		default:
			return nil
		}
	}
}

// mayFollowScan reports whether a marker may follow the data of a scan: the end, the next
// scan, and what may be in front of that.
func mayFollowScan(marker byte) bool {
	switch marker {
	case markerEOI, markerSOS, markerDHT, markerDAC, markerDQT, markerDRI, markerCOM:
		return true
	}
	return marker&^15 == markerAPP
}

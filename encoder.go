package main

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// An encoder makes JPEGs of raw pictures of one format and size: baseline ones
// with the typical Huffman tables (T.81), straight from the bytes of the driver
// and in 32-bit arithmetic, which is what an ARMv6 is good at.
//
// On several cores it cuts the picture into strips, which are encoded each for
// itself and put together with restart markers in between.
type encoder struct {
	width, height int // of the JPEGs, pixels
	length        int // of a raw picture, bytes
	components    []component
	columns, rows int // of MCUs
	header        []byte
	strips        []strip

	// The picture in hand.
	raw     []byte
	next    atomic.Int32 // strip that nobody encodes yet
	helpers int          // goroutines that do it besides the caller's
	help    func()
	helping sync.WaitGroup
}

// A component is what a JPEG has of each pixel: luminance, blue or red
// chrominance.
type component struct {
	plane
	across, down int // blocks in an MCU
	table        int // number of its tables in the header
	quantizer    *quantizer
	dc, ac       *huffmanCodes
}

// A strip is some rows of MCUs of a picture.
type strip struct {
	first, end int // rows
	out        []byte
}

// stripsPerCore is more than one because some are more work than others.
const stripsPerCore = 4

// newEncoder returns an encoder for the V4L2 pixel format fourcc, or nil if
// it knows none. A row takes stride bytes, in planar formats one of luminance.
// Samples have the limited range of television, or the full range of JPEGs.
func newEncoder(fourcc string, width, height, stride, quality int, limited bool) *encoder {
	row := width
	if fourcc == "YUYV" || fourcc == "UYVY" {
		row = 2 * width
	}
	stride = max(stride, row) // some drivers leave it 0
	if fourcc != "GREY" {
		width &^= 1 // chrominance comes for pairs of pixels
	}
	planes, length := planesOf(fourcc, width, height, stride)
	if planes == nil {
		return nil
	}
	e := &encoder{width: width, height: height}
	if !e.possible(stride) {
		return e
	}
	e.length = length
	e.setComponents(planes, quality, limited)
	e.cutStrips(runtime.GOMAXPROCS(0))
	e.header = e.appendHeader(nil)
	e.help = func() {
		e.encodeStrips()
		e.helping.Done()
	}
	return e
}

// possible reports whether a JPEG can have the size, and a raw picture is less
// than 2 GB.
func (e *encoder) possible(stride int) bool {
	const most = 1<<16 - 1
	return e.width > 0 && e.width <= most && e.height > 0 && e.height <= most && stride <= 1<<30/e.height
}

func (e *encoder) setComponents(planes []plane, quality int, limited bool) {
	lumaRange, chromaRange := fullRange, fullRange
	if limited {
		lumaRange, chromaRange = limitedLuma, limitedChroma
	}
	codes := parseHuffmanTables(huffmanTables)
	e.components = []component{{
		plane: planes[0], across: 1, down: 1, table: 0,
		quantizer: newQuantizer(&lumaSteps, quality, lumaRange), dc: &codes[0], ac: &codes[1],
	}}
	size := 8
	if len(planes) > 1 {
		e.components[0].across, e.components[0].down = 2, 2
		size = 16
		chroma := newQuantizer(&chromaSteps, quality, chromaRange)
		for _, p := range planes[1:] {
			e.components = append(e.components, component{
				plane: p, across: 1, down: 1, table: 1,
				quantizer: chroma, dc: &codes[2], ac: &codes[3],
			})
		}
	}
	e.columns = (e.width + size - 1) / size
	e.rows = (e.height + size - 1) / size
}

// cutStrips cuts the picture into strips for some cores. All but the last are
// as high, and have less than 1<<16 MCUs, as the header will say.
func (e *encoder) cutStrips(cores int) {
	high := e.rows
	if cores > 1 {
		n := stripsPerCore * cores
		high = min((e.rows+n-1)/n, (1<<16-1)/e.columns)
	}
	for y := 0; y < e.rows; y += high {
		e.strips = append(e.strips, strip{first: y, end: min(y+high, e.rows)})
	}
	e.helpers = min(cores, len(e.strips)) - 1
}

// appendHeader appends all that comes before the entropy-coded data (T.81,
// B.2). It is the same for all pictures.
func (e *encoder) appendHeader(b []byte) []byte {
	n := byte(len(e.components))
	frame := []byte{8, byte(e.height >> 8), byte(e.height), byte(e.width >> 8), byte(e.width), n}
	scan := []byte{n}
	b = append(b, 0xff, markerSOI)
	for i, c := range e.components {
		if i == c.table {
			b = appendSegment(b, markerDQT, append([]byte{byte(i)}, c.quantizer.steps[:]...))
		}
		frame = append(frame, byte(i+1), byte(c.across<<4|c.down), byte(c.table))
		scan = append(scan, byte(i+1), byte(c.table<<4|c.table))
	}
	b = appendSegment(b, markerSOF, frame)
	tables := huffmanTables[4:]
	if n == 1 {
		tables = tables[:lumaTables]
	}
	b = appendSegment(b, markerDHT, tables)
	if len(e.strips) > 1 {
		every := e.strips[0].end * e.columns
		b = appendSegment(b, markerDRI, []byte{byte(every >> 8), byte(every)})
	}
	return appendSegment(b, markerSOS, append(scan, 0, 63, 0)) // all coefficients, in one go
}

// lumaTables is how many bytes the Huffman tables of luminance take, which are
// the first in huffmanTables.
const lumaTables = 17 + 12 + 17 + 162

// appendSegment appends a marker segment, as findScan says.
func appendSegment(b []byte, marker byte, content []byte) []byte {
	n := len(content) + 2
	b = append(b, 0xff, marker, byte(n>>8), byte(n))
	return append(b, content...)
}

// appendEncoded appends raw as a JPEG to dst. A picture that is too short is
// errDamaged. It must not be called while it is busy.
func (e *encoder) appendEncoded(dst, raw []byte) ([]byte, error) {
	if len(e.strips) == 0 {
		return dst, errors.New("the camera's pictures are of a size that JPEG does not have")
	}
	if len(raw) < e.length {
		return dst, errDamaged
	}
	e.raw = raw
	e.strips[0].out = append(dst, e.header...)
	e.next.Store(0)
	e.helping.Add(e.helpers)
	for range e.helpers {
		go e.help() // one that is there already: it allocates nothing
	}
	e.encodeStrips()
	e.helping.Wait()
	e.raw = nil
	dst = e.strips[0].out
	e.strips[0].out = nil
	for i := range e.strips[1:] {
		dst = append(dst, 0xff, markerRST+byte(i%8))
		dst = append(dst, e.strips[i+1].out...)
	}
	return append(dst, 0xff, markerEOI), nil
}

// encodeStrips encodes strips that nobody else does, until there are no more.
func (e *encoder) encodeStrips() {
	for {
		i := int(e.next.Add(1)) - 1
		if i >= len(e.strips) {
			return
		}
		s := &e.strips[i]
		if i > 0 {
			s.out = s.out[:0]
		}
		e.encode(s)
	}
}

// encode encodes the MCUs of a strip, each of which has the blocks of one
// component after the other (T.81, A.2.3). What it works on is its own, so that
// no two cores write to the same line of their caches.
func (e *encoder) encode(s *strip) {
	bits := bitWriter{out: s.out, free: 32}
	var block [64]int32
	var quantized coefficients
	var last [3]int32 // first coefficient of each component
	for y := s.first; y < s.end; y++ {
		for x := range e.columns {
			for i := range e.components {
				c := &e.components[i]
				for row := range c.down {
					for column := range c.across {
						c.read(&block, e.raw, 8*(x*c.across+column), 8*(y*c.down+row))
						c.quantizer.quantize(&quantized, &block, transformRows(&block))
						first := quantized.values[0]
						quantized.values[0] -= last[i]
						last[i] = first
						bits.block(&quantized, c.dc, c.ac)
					}
				}
			}
		}
	}
	bits.flush()
	s.out = bits.out
}

package mjpeg

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// RawFormat tells how a raw picture lies in memory.
type RawFormat struct {
	PixelFormat   string // the letters of a V4L2 pixel format, "YUYV": see the package comment
	Width, Height int    // pixels
	Strides       [3]int // bytes from row to row, of each plane of memory; 0: rows are not padded
	Rows          int    // that there is memory for, up to the next plane in it; 0: Height
	LimitedRange  bool   // samples have the range of television, black is 16; if not, that of JPEGs
	Orientation   int    // that the JPEGs get, an Exif orientation from 1 to 8: 6 is a quarter turn clockwise; 0 is 1
}

// An Encoder makes JPEGs of raw pictures of one format and size: baseline ones, with the
// typical Huffman tables (K.3.3) and chrominance of half the width and height.
//
// On several cores it cuts the picture into strips, encodes each for itself, and puts
// them together with restart markers in between.
type Encoder struct {
	width, height int // of the JPEGs, pixels
	format        *pixelFormat
	turn          turn
	lengths       [3]int // of the planes of memory of a raw picture, bytes
	planes        []plane
	components    []component
	columns, rows int // of MCUs
	header        []byte
	strips        []strip

	// The picture that is encoded now.
	raw       [3][]byte    // planes of memory
	nextStrip atomic.Int32 // that nobody encodes yet
	buffer    *rowBuffer   // of the caller's goroutine
	work      []func()     // what other goroutines do
	working   sync.WaitGroup
	failed    atomic.Pointer[string] // the panic of one of them, with its stack
}

// A component of a JPEG is luminance, blue chrominance or red chrominance.
type component struct {
	samples
	across, down   int     // blocks in an MCU
	blocks         []point // where they are in the raw picture, from the first
	wholeX, wholeY uint    // all that begin before these are no less than 8 columns and rows from the edge
	table          int     // the number of its tables in the header
	quantizer      *quantizer
	dc, ac         *huffmanCodes
}

// A strip is some rows of MCUs of a picture.
type strip struct {
	first, end int // rows
	out        []byte
}

// stripsPerCore is more than one because some strips are more work than others.
const stripsPerCore = 4

// NewEncoder returns an encoder for raw pictures of a format, with a quality from 1 to 100
// as that of libjpeg. It fails if it does not know the format, or if a JPEG cannot have the
// size.
func NewEncoder(f RawFormat, quality int) (*Encoder, error) {
	if f.Orientation < 0 || f.Orientation > 8 {
		return nil, fmt.Errorf("no orientation %d: it must be from 1 to 8", f.Orientation)
	}
	e := &Encoder{width: f.Width, height: f.Height, turn: newTurn(f.Orientation)}
	var samples []samples
	var err error
	if e.format, e.planes, samples, err = f.layout(); err != nil {
		return nil, err
	}
	e.width = samples[0].width
	for _, p := range e.planes {
		e.lengths[p.memory] = p.offset + p.height*p.stride
	}
	if e.turn.transposed {
		e.width, e.height = e.height, e.width
	}
	e.setComponents(samples, quality, f.LimitedRange)
	if e.turn.transposed {
		e.layOutColumns()
	}
	e.addWorkers(e.cutStrips(runtime.GOMAXPROCS(0)))
	e.header = e.appendHeader(nil)
	return e, nil
}

// Size returns the size of the JPEGs in pixels. It is that of the raw pictures, of which an odd
// width becomes the next lower even number in colour, or the height of those and then the width.
func (e *Encoder) Size() (width, height int) { return e.width, e.height }

// layout returns the pixel format, and its layout for pictures of f. It fails if there is no such
// format, or if a JPEG cannot have the size.
func (f *RawFormat) layout() (*pixelFormat, []plane, []samples, error) {
	format := findPixelFormat(f.PixelFormat)
	if format == nil {
		return nil, nil, nil, fmt.Errorf("no encoder for the pixel format %q", f.PixelFormat)
	}
	width := f.Width
	if !format.grey() {
		width &^= 1 // chrominance comes for pairs of pixels
	}
	strides, rows := format.strides(f.Width, f.Strides), max(f.Height, f.Rows)
	if !isPossible(width, f.Height) || max(strides[0], strides[1], strides[2]) > maxRaw/rows {
		return nil, nil, nil, errors.New("pictures are of a size that JPEG does not have")
	}
	planes, samples := format.layout(width, f.Height, rows, strides)
	return format, planes, samples, nil
}

// maxRaw is more than a raw picture has, in bytes.
const maxRaw = 1 << 30

// isPossible reports whether a JPEG can have a size.
func isPossible(width, height int) bool {
	const most = 1<<16 - 1
	return width > 0 && width <= most && height > 0 && height <= most
}

func (e *Encoder) setComponents(samples []samples, quality int, limited bool) {
	lumaRange, chromaRange := fullRange, fullRange
	if limited {
		lumaRange, chromaRange = limitedLuma, limitedChroma
		if e.format.rgb() {
			chromaRange = limitedRGBChroma
		}
	}
	codes := parseHuffmanTables(huffmanTables)
	e.components = []component{{
		samples: samples[0], across: 1, down: 1, table: 0,
		quantizer: newQuantizer(&lumaSteps, quality, lumaRange, e.turn), dc: &codes[0], ac: &codes[1],
	}}
	size := 8
	if len(samples) > 1 {
		e.components[0].across, e.components[0].down = 2, 2
		size = 16
		chroma := newQuantizer(&chromaSteps, quality, chromaRange, e.turn)
		for _, s := range samples[1:] {
			e.components = append(e.components, component{
				samples: s, across: 1, down: 1, table: 1,
				quantizer: chroma, dc: &codes[2], ac: &codes[3],
			})
		}
	}
	for i := range e.components {
		e.turn.placeBlocks(&e.components[i])
	}
	e.columns = (e.width + size - 1) / size
	e.rows = (e.height + size - 1) / size
}

// cutStrips cuts the picture into strips for some cores, and returns how many of these it
// takes. All strips but the last have the same height, and fewer than 1<<16 MCUs: the header
// has 16 bits for their number.
func (e *Encoder) cutStrips(cores int) (workers int) {
	high := e.rows
	if cores > 1 {
		n := stripsPerCore * cores
		high = min((e.rows+n-1)/n, (1<<16-1)/e.columns)
	}
	for y := 0; y < e.rows; y += high {
		e.strips = append(e.strips, strip{first: y, end: min(y+high, e.rows)})
	}
	return min(cores, len(e.strips))
}

// addWorkers adds what each goroutine needs that encodes strips. The first is the caller's.
func (e *Encoder) addWorkers(n int) {
	e.buffer = e.newRowBuffer()
	for range n - 1 {
		buffer := e.newRowBuffer()
		e.work = append(e.work, func() { e.encodeBeside(buffer) })
	}
}

// appendHeader appends everything that comes before the entropy-coded data (B.2). It is the
// same for all pictures.
func (e *Encoder) appendHeader(b []byte) []byte {
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
	return appendSegment(b, markerSOS, append(scan, 0, 63, 0)) // all coefficients, in one scan
}

// lumaTables is the length of the Huffman tables of luminance, the first in huffmanTables,
// in bytes.
const lumaTables = 17 + 12 + 17 + 162

// appendSegment appends a marker segment: see findScan.
func appendSegment(b []byte, marker byte, content []byte) []byte {
	n := len(content) + 2
	b = append(b, 0xff, marker, byte(n>>8), byte(n))
	return append(b, content...)
}

// Append appends a raw picture to dst as a JPEG. The picture lies in one plane of memory,
// unless its pixel format has more. Append returns dst and ErrDamaged if a plane is too short.
// It must not be called while another call is running.
func (e *Encoder) Append(dst []byte, planes ...[]byte) ([]byte, error) {
	copy(e.raw[:], planes)
	defer clear(e.raw[:])
	for i, length := range e.lengths {
		if len(e.raw[i]) < length {
			return dst, damageCut
		}
	}
	e.strips[0].out = append(dst, e.header...)
	e.encode()
	dst = e.strips[0].out
	e.strips[0].out = nil
	for i := range e.strips[1:] {
		dst = append(dst, 0xff, markerRST+byte(i%8))
		dst = append(dst, e.strips[i+1].out...)
	}
	return append(dst, 0xff, markerEOI), nil
}

// encode encodes all strips. It panics if another goroutine has, but not before all are done: the
// memory of the picture may be gone then.
func (e *Encoder) encode() {
	e.nextStrip.Store(0)
	e.failed.Store(nil)
	e.working.Add(len(e.work))
	for _, work := range e.work {
		go work()
	}
	e.encodeOwn()
	if failed := e.failed.Load(); failed != nil {
		panic(*failed)
	}
}

// encodeOwn encodes strips in the caller's goroutine, and waits for the others.
func (e *Encoder) encodeOwn() {
	defer e.working.Wait()
	e.encodeStrips(e.buffer)
}

// encodeBeside encodes strips in another goroutine, where a panic would end the program.
func (e *Encoder) encodeBeside(b *rowBuffer) {
	defer e.working.Done()
	defer func() {
		if value := recover(); value != nil {
			failed := fmt.Sprintf("%v\n%s", value, debug.Stack())
			e.failed.Store(&failed)
		}
	}()
	e.encodeStrips(b)
}

// encodeStrips encodes strips that nobody else encodes, until there are no more.
func (e *Encoder) encodeStrips(b *rowBuffer) {
	for {
		i := int(e.nextStrip.Add(1)) - 1
		if i >= len(e.strips) {
			return
		}
		s := &e.strips[i]
		if i > 0 {
			s.out = s.out[:0]
		}
		e.encodeStrip(s, b)
	}
}

// encodeStrip encodes the MCUs of a strip. Each has the blocks of one component after the
// other (A.2.3). Its variables are its own, so that no two cores write to the same line of
// their caches.
func (e *Encoder) encodeStrip(s *strip, b *rowBuffer) {
	bits := bitWriter{out: s.out, free: 32}
	var block [64]int32
	var quantized coefficients
	var last [3]int32 // first coefficient of each component
	for y, unloaded := s.first, s.first; y < s.end; y++ {
		if y == unloaded {
			unloaded = e.load(b, y, s.end)
		}
		for x := range e.columns {
			for i := range e.components {
				c := &e.components[i]
				left, top := e.turn.source(&c.samples, x*c.across, y*c.down)
				for _, at := range c.blocks {
					c.read(&block, b, left+at.x, top+at.y)
					c.quantizer.quantize(&quantized, &block, transformRows(&block))
					first := quantized.values[0]
					quantized.values[0] -= last[i]
					last[i] = first
					bits.putBlock(&quantized, c.dc, c.ac)
				}
			}
		}
	}
	bits.flush()
	s.out = bits.out
}

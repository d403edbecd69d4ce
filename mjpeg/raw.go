package mjpeg

import "errors"

// A plane is a part of a raw picture that has rows of its own: the whole picture in packed
// formats, luminance or chrominance in planar ones.
type plane struct {
	memory         int // the number of the plane of memory that it is in
	offset, stride int // bytes
	height         int // rows
	rows           int // of them that belong to a row of MCUs
	width          int // bytes of a row that are the picture

	// For pictures whose columns become rows, in bytes.
	columns int // of each row, that belong to a column of MCUs
	copied  int // from row to row in a rowBuffer
}

// samples tell where the rows of a plane have the samples of a component: the one in column
// x and row y is the byte at offset + y*stride + x*step.
type samples struct {
	plane                int // its number
	offset, stride, step int // bytes
	width, height        int // samples, of the whole picture
}

// A pixelFormat tells how raw pictures of a V4L2 pixel format lie in memory.
type pixelFormat struct {
	name    string
	bytes   int  // of a pixel, in the first plane
	planes  int  // 0: RGB
	allRows bool // of chrominance are there, in planes
	apart   bool // each plane is in a plane of memory of its own

	// Where luminance, blue and red chrominance begin: in packed formats the bytes of two
	// pixels, with two planes the bytes of the second plane, with three the planes. Grey
	// has no chrominance.
	y, cb, cr int

	red int // its byte in RGB of three bytes
}

var pixelFormats = []pixelFormat{
	{name: "GREY", bytes: 1, planes: 1},

	// Two pixels are Y Cb Y Cr, or in another order.
	{name: "YUYV", bytes: 2, planes: 1, y: 0, cb: 1, cr: 3},
	{name: "YVYU", bytes: 2, planes: 1, y: 0, cb: 3, cr: 1},
	{name: "UYVY", bytes: 2, planes: 1, y: 1, cb: 0, cr: 2},
	{name: "VYUY", bytes: 2, planes: 1, y: 1, cb: 2, cr: 0},

	// All Y come first, then Cb and Cr in turn.
	{name: "NV12", bytes: 1, planes: 2, cb: 0, cr: 1},
	{name: "NV21", bytes: 1, planes: 2, cb: 1, cr: 0},
	{name: "NV16", bytes: 1, planes: 2, cb: 0, cr: 1, allRows: true},
	{name: "NV61", bytes: 1, planes: 2, cb: 1, cr: 0, allRows: true},
	{name: "NM12", bytes: 1, planes: 2, cb: 0, cr: 1, apart: true},
	{name: "NM21", bytes: 1, planes: 2, cb: 1, cr: 0, apart: true},
	{name: "NM16", bytes: 1, planes: 2, cb: 0, cr: 1, apart: true, allRows: true},
	{name: "NM61", bytes: 1, planes: 2, cb: 1, cr: 0, apart: true, allRows: true},

	// All Y come first, then all Cb and all Cr, or the other way round.
	{name: "YU12", bytes: 1, planes: 3, cb: 1, cr: 2},
	{name: "YV12", bytes: 1, planes: 3, cb: 2, cr: 1},
	{name: "YM12", bytes: 1, planes: 3, cb: 1, cr: 2, apart: true},
	{name: "YM21", bytes: 1, planes: 3, cb: 2, cr: 1, apart: true},

	{name: "RGB3", bytes: 3, red: 0},
	{name: "BGR3", bytes: 3, red: 2},
	{name: "RGBP", bytes: 2}, // 16 bits, little endian, red in the high ones
}

// findPixelFormat returns the format with a name, nil if there is none.
func findPixelFormat(name string) *pixelFormat {
	for i := range pixelFormats {
		if pixelFormats[i].name == name {
			return &pixelFormats[i]
		}
	}
	return nil
}

func (f *pixelFormat) grey() bool { return f.planes == 1 && f.cb == f.cr }

func (f *pixelFormat) rgb() bool { return f.planes == 0 }

// strides returns the bytes from row to row of each plane, with those that a driver has told
// of each plane of memory.
func (f *pixelFormat) strides(width int, told [3]int) (s [3]int) {
	s[0] = max(told[0], width*f.bytes)
	switch {
	case f.planes == 2 && f.apart:
		s[1] = max(told[1], width&^1)
	case f.planes == 3 && f.apart:
		s[1], s[2] = max(told[1], width/2), max(told[2], width/2)
	case f.planes == 2:
		s[1] = s[0]
	case f.planes == 3:
		s[1], s[2] = s[0]/2, s[0]/2
	}
	return s
}

// layout returns the planes of a picture, and where in them the components are: luminance
// and, unless the format is grey, blue and red chrominance.
//
// Chrominance is half as wide and high as the picture. Some formats have all its rows, of
// which this uses every second one. With all rows, JPEGs took a tenth to a fifth more bytes
// and a fifth more time. With the mean of two rows, they came 0.2 to 2 dB nearer to the
// picture in colour, for a twentieth more time.
//
// There is memory for bufferRows rows.
func (f *pixelFormat) layout(width, height, bufferRows int, strides [3]int) ([]plane, []samples) {
	if f.rgb() {
		return layoutRGB(width, height, strides[0], f.bytes)
	}
	y := samples{0, f.y, strides[0], 1, width, height}
	luma := plane{stride: strides[0], height: height, rows: 16, width: width * f.bytes}
	if f.grey() {
		luma.rows = 8
		return []plane{luma}, []samples{y}
	}
	w, h := width/2, (height+1)/2
	switch f.planes {
	case 1:
		y.step = 2
		every := 2 * strides[0]
		return []plane{luma}, []samples{y, {0, f.cb, every, 4, w, h}, {0, f.cr, every, 4, w, h}}
	case 2:
		chroma, every := plane{stride: strides[1], height: h, rows: 8, width: 2 * w}, strides[1]
		if f.allRows {
			chroma.height, chroma.rows, every = height, 16, 2*strides[1]
		}
		planes := []plane{luma, chroma}
		f.place(planes, bufferRows)
		return planes, []samples{y, {1, f.cb, every, 2, w, h}, {1, f.cr, every, 2, w, h}}
	}
	chroma := plane{height: h, rows: 8, width: w}
	planes := []plane{luma, chroma, chroma}
	planes[1].stride, planes[2].stride = strides[1], strides[2]
	f.place(planes, bufferRows)
	return planes, []samples{y, {f.cb, 0, strides[f.cb], 1, w, h}, {f.cr, 0, strides[f.cr], 1, w, h}}
}

// place says where planes begin.
func (f *pixelFormat) place(planes []plane, bufferRows int) {
	for i := 1; i < len(planes); i++ {
		if f.apart {
			planes[i].memory = i
			continue
		}
		before, rows := &planes[i-1], bufferRows
		if before.height < planes[0].height {
			rows = (bufferRows + 1) / 2
		}
		planes[i].offset = before.offset + rows*before.stride
	}
}

// Segments returns the parts of planes of memory that a picture of this format has, in their
// order: a program that writes pictures without anything between rows writes them one behind the
// other. It fails if there is padding between rows, or if the planes are too short.
func (f *RawFormat) Segments(planes [][]byte) (segments [][]byte, err error) {
	_, layout, _, err := f.layout()
	if err != nil {
		return nil, err
	}
	for _, p := range layout {
		end := p.offset + p.height*p.stride
		if p.stride != p.width || p.memory >= len(planes) || end > len(planes[p.memory]) {
			return nil, errors.New("rows of pictures are padded")
		}
		segments = append(segments, planes[p.memory][p.offset:end])
	}
	return segments, nil
}

// wordAlignment is what copies from a driver's buffer begin and end at multiples of, in bytes: the
// words of 64-bit processors.
const wordAlignment = 8

// A rowBuffer has a copy of the rows of a raw picture that a row of MCUs takes or, if its columns
// become rows, of some columns.
//
// Drivers of the camera interfaces of boards have buffers that no cache holds (videobuf2 with
// dma-contig). A load from there takes as long for a byte as for a word, so that to read samples
// one by one takes 10 to 30 times as long as elsewhere. A copy between addresses that are
// aligned goes by whole words.
type rowBuffer struct {
	copies [3][]byte // of planes, from an aligned address on
	rows   [3][]byte // that the components are read from
	bases  [3]int    // what to subtract from an offset in a plane to find a sample in rows, in bytes

	// For RGB.
	unpacked [2][]byte // two rows with three bytes per pixel
	ycc      [3][]byte // rows of components
}

func (e *Encoder) newRowBuffer() *rowBuffer {
	b := &rowBuffer{}
	rows := 16 + 2 // with an odd height, pairs of rows
	for i, p := range e.planes {
		size := min(p.rows+2, p.height) * p.stride
		if e.turn.transposed {
			size = p.height * p.copied
		}
		b.copies[i] = make([]byte, size+2*wordAlignment)
	}
	if e.format.rgb() {
		y, c := &e.components[0], &e.components[1]
		if e.turn.transposed {
			rows = y.height + 1
		}
		b.unpacked = [2][]byte{make([]byte, 3*y.stride), make([]byte, 3*y.stride)}
		b.ycc = [3][]byte{make([]byte, rows*y.stride), make([]byte, rows/2*c.stride), make([]byte, rows/2*c.stride)}
	}
	return b
}

// load copies what the rows of MCUs from y on take, but not those from end on. It returns where
// those begin that are still to be loaded.
func (e *Encoder) load(b *rowBuffer, y, end int) int {
	if e.turn.transposed {
		end = min(y+columnsAtOnce, end)
		e.loadColumns(b, y, end)
	} else {
		end = y + 1
		e.loadRows(b, y)
	}
	if e.format.rgb() {
		e.convert(b, y, end)
	}
	return end
}

// loadRows copies the rows that row y of the MCUs takes.
func (e *Encoder) loadRows(b *rowBuffer, y int) {
	for i := range e.planes {
		p := &e.planes[i]
		first, end := e.rowsOf(p, y)
		from, to := p.offset+first*p.stride, p.offset+end*p.stride
		aligned := from &^ (wordAlignment - 1)
		raw := e.raw[p.memory]
		copy(b.copies[i], raw[aligned:min((to+wordAlignment-1)&^(wordAlignment-1), len(raw))])
		b.rows[i], b.bases[i] = b.copies[i][from-aligned:], first*p.stride
	}
}

// rowsOf returns the rows of a plane that row y of the MCUs takes, in pairs: two have one row of
// chrominance.
func (e *Encoder) rowsOf(p *plane, y int) (first, end int) {
	first, end = span(p.height, p.rows, y, y+1, e.turn.mirrorY)
	return first &^ 1, min((end+1)&^1, p.height)
}

// read reads the block of 8x8 samples at column x and row y. Samples beyond the picture are those
// nearest to them.
func (c *component) read(block *[64]int32, b *rowBuffer, x, y int) {
	rows, base := b.rows[c.plane], b.bases[c.plane]
	if uint(x) >= c.wholeX || uint(y) >= c.wholeY {
		for i := range block {
			column, row := min(max(x+i%8, 0), c.width-1), min(max(y+i/8, 0), c.height-1)
			block[i] = int32(rows[c.offset+row*c.stride+column*c.step-base])
		}
		return
	}
	step, stride := c.step, c.stride
	at := c.offset + y*stride + x*step - base
	for i := 0; i < 64; i += 8 {
		to := (*[8]int32)(block[i:])
		switch step { // constant, for offsets that are
		case 1:
			r := (*[8]byte)(rows[at:])
			to[0], to[1], to[2], to[3] = int32(r[0]), int32(r[1]), int32(r[2]), int32(r[3])
			to[4], to[5], to[6], to[7] = int32(r[4]), int32(r[5]), int32(r[6]), int32(r[7])
		case 2:
			r := (*[15]byte)(rows[at:])
			to[0], to[1], to[2], to[3] = int32(r[0]), int32(r[2]), int32(r[4]), int32(r[6])
			to[4], to[5], to[6], to[7] = int32(r[8]), int32(r[10]), int32(r[12]), int32(r[14])
		case 4:
			r := (*[29]byte)(rows[at:])
			to[0], to[1], to[2], to[3] = int32(r[0]), int32(r[4]), int32(r[8]), int32(r[12])
			to[4], to[5], to[6], to[7] = int32(r[16]), int32(r[20]), int32(r[24]), int32(r[28])
		}
		at += stride
	}
}

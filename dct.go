package main

import "math"

// The discrete cosine transform (T.81, A.3.3) the way of Arai, Agui and
// Nakajima: eight values take five multiplications, for each result may come
// out at a scale of its own. To divide by the quantization steps then takes
// that out as well.

// Cosines, with cosineBits behind the point.
const (
	cosineBits = 13
	cos4       = 5793  // cos(4π/16)
	cos6       = 3135  // cos(6π/16)
	cos2less6  = 4433  // cos(2π/16) - cos(6π/16)
	cos2and6   = 10703 // cos(2π/16) + cos(6π/16)
)

// dctScale returns how many times too large result n of a transform is.
func dctScale(n int) float64 {
	if n == 0 {
		return math.Sqrt(8)
	}
	return 4 * math.Cos(float64(n)*math.Pi/16)
}

// even returns the results 0, 2, 4 and 6 of eight values. It takes sums: of the
// first value and the last, and so on inwards. The results have up more bits
// behind the point than these.
func even(a0, a1, a2, a3 int32, up int) (r0, r2, r4, r6 int32) {
	b0, b3 := a0+a3, a0-a3
	b1, b2 := a1+a2, a1-a2
	z := ((b2+b3)*cos4 + 1<<(cosineBits-1-up)) >> (cosineBits - up)
	return (b0 + b1) << up, b3<<up + z, (b0 - b1) << up, b3<<up - z
}

// odd returns what makes the results 1, 3, 5 and 7, together with the
// difference of the first value and the last, d0, that d1 to d3 follow inwards:
// d0+z1+z2, d0-z1-z0, d0-z1+z0 and d0+z1-z2.
func odd(d0, d1, d2, d3 int32, up int) (z0, z1, z2 int32) {
	b0, b1, b2 := d3+d2, d2+d1, d1+d0
	z := (b0-b2)*cos6 + 1<<(cosineBits-1-up)
	z0 = (b0*cos2less6 + z) >> (cosineBits - up)
	z1 = (b1*cos4 + 1<<(cosineBits-1-up)) >> (cosineBits - up)
	z2 = (b2*cos2and6 + z) >> (cosineBits - up)
	return z0, z1, z2
}

// rowBits is how many bits behind the point transformed rows have. With two
// less, pictures of quality 95 lost up to 0.7 dB; with two more, the products
// for their columns would not always fit 32 bits.
const rowBits = 4

// transformRows transforms the rows of a block of samples, in place. It returns
// how many columns then have more than zeros.
func transformRows(block *[64]int32) (columns int) {
	columns = 1
	for y := 0; y < 64; y += 8 {
		s := (*[8]int32)(block[y:])
		a0, d0 := s[0]+s[7], s[0]-s[7]
		a1, d1 := s[1]+s[6], s[1]-s[6]
		a2, d2 := s[2]+s[5], s[2]-s[5]
		a3, d3 := s[3]+s[4], s[3]-s[4]
		// Rows of one colour are most of what computers show, through converters
		// from HDMI, and of test pictures: there this saves a fifth of the
		// instructions of the whole encoder on ARMv6, and costs a hundredth where
		// there are none.
		if d0 == 0 && d1 == 0 && d2 == 0 && d3 == 0 && a0 == a1 && a0 == a2 && a0 == a3 {
			*s = [8]int32{4 * a0 << rowBits}
			continue
		}
		columns = 8
		s[0], s[2], s[4], s[6] = even(a0, a1, a2, a3, rowBits)
		z0, z1, z2 := odd(d0, d1, d2, d3, rowBits)
		d0 <<= rowBits
		s[1], s[7] = d0+z1+z2, d0+z1-z2
		s[3], s[5] = d0-z1-z0, d0-z1+z0
	}
	return columns
}

// A sampleRange is the range of the samples of a raw picture. In a JPEG they are
// 0 to 255 (JFIF 1.02): (sample-middle)*gain is what it has, less 128.
type sampleRange struct {
	middle float64 // between the darkest sample and the brightest
	gain   float64
}

var (
	fullRange = sampleRange{128, 1}

	// Of television (ITU-R BT.601): black is 16 and white 235, and chrominance goes
	// from 16 to 240. What is beyond that is as black or white in the JPEG.
	limitedLuma   = sampleRange{16 + 128*219./255, 255. / 219}
	limitedChroma = sampleRange{128, 255. / 224}
)

// A quantizer divides coefficients by the steps of a quantization table. It also
// brings samples to the range that they have in a JPEG, at no cost.
type quantizer struct {
	steps [64]byte // in zig-zag order

	// By column and row, 1<<quantizerBits * gain / (step * scale).
	factors [8][8]int32

	// The first coefficient of a block that has only middle samples, before it is
	// divided: it is to be zero.
	level int32

	// For each column, of which sum of its values all coefficients are zero.
	limits [8]int32
}

// quantizerBits is how many bits behind the point products with factors have.
// In front of it are at most 11 and the sign.
const quantizerBits = 20

// newQuantizer scales a table as everyone does, so that a quality means the
// same everywhere: 50 leaves it as it is, 100 makes all steps 1.
func newQuantizer(table *[8][8]int, quality int, r sampleRange) *quantizer {
	quality = min(max(quality, 1), 100)
	percent := 200 - 2*quality
	if quality < 50 {
		percent = 5000 / quality
	}
	q := &quantizer{level: int32(math.Round(64 * r.middle * (1 << rowBits)))}
	for u := range 8 {
		limit := math.Inf(1)
		for v := range 8 {
			step := min(max((table[v][u]*percent+50)/100, 1), 255)
			q.steps[zigzag[u][v]] = byte(step)
			scale := float64(step) * dctScale(u) * dctScale(v) * (1 << rowBits) / r.gain
			q.factors[u][v] = int32(math.Round(1 << quantizerBits / scale))
			// No value has more than half its size in a result (T.81, A.3.3),
			// times the scale; and half a step rounds to zero.
			limit = min(limit, scale/dctScale(v))
		}
		q.limits[u] = int32(limit)
	}
	return q
}

// coefficients are those of a block, transformed and quantized.
type coefficients struct {
	// In zig-zag order. What is zero, but for the first, can be anything here.
	values [64]int32

	// A bit is set for each that is not zero, and the first: that is bit 31 of
	// nonzero[0].
	nonzero [2]uint32
}

// quantize transforms the columns of a block with transformed rows, and
// quantizes. All but the first columns are zero.
func (q *quantizer) quantize(c *coefficients, block *[64]int32, columns int) {
	c.nonzero[0], c.nonzero[1] = 1<<31, 0
	c.values[0] = 0
	for u := range columns {
		s := (*[57]int32)(block[u:])
		s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[8], s[16], s[24], s[32], s[40], s[48], s[56]
		level := q.level // for the first coefficient
		// Fine detail is often too faint to be kept. To look first saves 12 % of
		// the encoder's instructions on ARMv6 with smooth pictures, 3 to 5 % with
		// photographs, and costs 1 % with the noise of a dark room.
		if u > 0 {
			level = 0
			sum := (s0 ^ s0>>31) + (s1 ^ s1>>31) + (s2 ^ s2>>31) + (s3 ^ s3>>31) +
				(s4 ^ s4>>31) + (s5 ^ s5>>31) + (s6 ^ s6>>31) + (s7 ^ s7>>31)
			if sum < q.limits[u] {
				continue
			}
		}
		f, z := &q.factors[u], &zigzag[u]
		r0, r2, r4, r6 := even(s0+s7, s1+s6, s2+s5, s3+s4, 0)
		c.put(z[0], (r0-level)*f[0])
		c.put(z[2], r2*f[2])
		c.put(z[4], r4*f[4])
		c.put(z[6], r6*f[6])
		d0 := s0 - s7
		z0, z1, z2 := odd(d0, s1-s6, s2-s5, s3-s4, 0)
		c.put(z[1], (d0+z1+z2)*f[1])
		c.put(z[3], (d0-z1-z0)*f[3])
		c.put(z[5], (d0-z1+z0)*f[5])
		c.put(z[7], (d0+z1-z2)*f[7])
	}
	// Samples beyond black and white could make it 1202; the difference to that of
	// another block has 11 bits and a sign (T.81, F.1.2.1).
	c.values[0] = min(max(c.values[0], -1024), 1023)
}

// put rounds a coefficient that has quantizerBits behind the point, and puts it
// at its place, unless it is zero.
func (c *coefficients) put(at uint8, v int32) {
	v += 1 << (quantizerBits - 1)
	if uint32(v) >= 1<<quantizerBits {
		c.values[at&63] = v >> quantizerBits
		c.nonzero[at>>5&1] |= 1 << 31 >> (at & 31)
	}
}

// zigzag has the places of coefficients, by column and row, in zig-zag order
// (T.81, figure A.6).
var zigzag = [8][8]uint8{
	{0, 2, 3, 9, 10, 20, 21, 35},
	{1, 4, 8, 11, 19, 22, 34, 36},
	{5, 7, 12, 18, 23, 33, 37, 48},
	{6, 13, 17, 24, 32, 38, 47, 49},
	{14, 16, 25, 31, 39, 46, 50, 57},
	{15, 26, 30, 40, 45, 51, 56, 58},
	{27, 29, 41, 44, 52, 55, 59, 62},
	{28, 42, 43, 53, 54, 60, 61, 63},
}

// Quantization tables, by row and column (T.81, K.1).
var (
	lumaSteps = [8][8]int{
		{16, 11, 10, 16, 24, 40, 51, 61},
		{12, 12, 14, 19, 26, 58, 60, 55},
		{14, 13, 16, 24, 40, 57, 69, 56},
		{14, 17, 22, 29, 51, 87, 80, 62},
		{18, 22, 37, 56, 68, 109, 103, 77},
		{24, 35, 55, 64, 81, 104, 113, 92},
		{49, 64, 78, 87, 103, 121, 120, 101},
		{72, 92, 95, 98, 112, 100, 103, 99},
	}
	chromaSteps = [8][8]int{
		{17, 18, 24, 47, 99, 99, 99, 99},
		{18, 21, 26, 66, 99, 99, 99, 99},
		{24, 26, 56, 99, 99, 99, 99, 99},
		{47, 66, 99, 99, 99, 99, 99, 99},
		{99, 99, 99, 99, 99, 99, 99, 99},
		{99, 99, 99, 99, 99, 99, 99, 99},
		{99, 99, 99, 99, 99, 99, 99, 99},
		{99, 99, 99, 99, 99, 99, 99, 99},
	}
)

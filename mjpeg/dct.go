package mjpeg

import "math"

// This is the discrete cosine transform (A.3.3) by the method of Arai, Agui and Nakajima.
// Eight values take only five multiplications, because each result has a scale of its own.
// The division by the quantization steps removes the scales as well.

// Cosines, with cosineBits behind the point.
const (
	cosineBits = 13
	cos4       = 5793  // cos(4π/16)
	cos6       = 3135  // cos(6π/16)
	cos2less6  = 4433  // cos(2π/16) - cos(6π/16)
	cos2and6   = 10703 // cos(2π/16) + cos(6π/16)
)

// dctScale returns the scale of result n of a transform.
func dctScale(n int) float64 {
	if n == 0 {
		return math.Sqrt(8)
	}
	return 4 * math.Cos(float64(n)*math.Pi/16)
}

// even returns the results 0, 2, 4 and 6 of eight values. It takes sums: of the first
// value and the last, of the second and the last but one, and so on. The results have up
// more bits behind the point than the sums.
func even(a0, a1, a2, a3 int32, up int) (r0, r2, r4, r6 int32) {
	b0, b3 := a0+a3, a0-a3
	b1, b2 := a1+a2, a1-a2
	z := ((b2+b3)*cos4 + 1<<(cosineBits-1-up)) >> (cosineBits - up)
	return (b0 + b1) << up, b3<<up + z, (b0 - b1) << up, b3<<up - z
}

// odd takes differences: d0 of the first value and the last, d1 of the second and the last
// but one, and so on. The results 1, 3, 5 and 7 are d0+z1+z2, d0-z1-z0, d0-z1+z0 and
// d0+z1-z2.
func odd(d0, d1, d2, d3 int32, up int) (z0, z1, z2 int32) {
	b0, b1, b2 := d3+d2, d2+d1, d1+d0
	z := (b0-b2)*cos6 + 1<<(cosineBits-1-up)
	z0 = (b0*cos2less6 + z) >> (cosineBits - up)
	z1 = (b1*cos4 + 1<<(cosineBits-1-up)) >> (cosineBits - up)
	z2 = (b2*cos2and6 + z) >> (cosineBits - up)
	return z0, z1, z2
}

// rowBits is the number of bits behind the point that transformed rows have. With two bits
// less, pictures of quality 95 lost up to 0.7 dB. With two more, the products for their
// columns would not always fit into 32 bits.
const rowBits = 4

// transformRows transforms the rows of a block of samples, in place. It returns how many of
// the first columns then have other values than zeros.
func transformRows(block *[64]int32) (columns int) {
	columns = 1
	for y := 0; y < 64; y += 8 {
		s := (*[8]int32)(block[y:])
		a0, d0 := s[0]+s[7], s[0]-s[7]
		a1, d1 := s[1]+s[6], s[1]-s[6]
		a2, d2 := s[2]+s[5], s[2]-s[5]
		a3, d3 := s[3]+s[4], s[3]-s[4]
		// Rows of one colour are most of what computers show, which converters from HDMI
		// capture, and of test pictures. There this saves a fifth of the instructions of
		// the whole encoder on ARMv6. In pictures without such rows it costs a hundredth.
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

// A sampleRange is the range of the samples of a raw picture. Those of a JPEG go from 0 to
// 255 (JFIF 1.02). A sample there is (sample-middle)*gain + 128.
type sampleRange struct {
	middle float64 // between the darkest sample and the brightest
	gain   float64
}

var (
	fullRange = sampleRange{128, 1}

	// These are the ranges of television (ITU-R BT.601): black is 16 and white 235, and
	// chrominance goes from 16 to 240. Samples beyond that become black or white.
	limitedLuma   = sampleRange{16 + 128*219./255, 255. / 219}
	limitedChroma = sampleRange{128, 255. / 224}

	// Red, green and blue go from 16 to 235 there, and so does chrominance that is made
	// of them, around 128.
	limitedRGBChroma = sampleRange{128, 255. / 219}
)

// A quantizer divides coefficients by the steps of a quantization table. The same product
// converts samples to the range of a JPEG, at no cost.
type quantizer struct {
	steps [64]byte // in zig-zag order

	// By column and row, 1<<quantizerBits * gain / (step * scale), with the sign that turns.
	factors [8][8]int32

	// The first coefficient, not yet divided, of a block that has only middle samples.
	// It is subtracted, so that such a block is zero.
	level int32

	// By column and row, where coefficients go in zig-zag order.
	places [8][8]uint8

	// For each column, the sum of absolute values below which all coefficients are zero.
	limits [8]int32
}

// quantizerBits is the number of bits behind the point in products with factors. In front of
// it are at most 11 bits and the sign.
const quantizerBits = 20

// newQuantizer scales a table as libjpeg does, so that a quality means the same as
// elsewhere: 50 leaves the table as it is, and 100 makes all steps 1. It also turns blocks.
func newQuantizer(table *[8][8]int, quality int, r sampleRange, t turn) *quantizer {
	quality = min(max(quality, 1), 100)
	percent := 200 - 2*quality
	if quality < 50 {
		percent = 5000 / quality
	}
	q := &quantizer{level: int32(math.Round(64 * r.middle * (1 << rowBits)))}
	for u := range 8 {
		limit := math.Inf(1)
		for v := range 8 {
			column, row := u, v
			if t.transposed {
				column, row = v, u
			}
			step := min(max((table[row][column]*percent+50)/100, 1), 255)
			q.steps[zigzag[column][row]] = byte(step)
			q.places[u][v] = zigzag[column][row]
			scale := float64(step) * dctScale(u) * dctScale(v) * (1 << rowBits) / r.gain
			q.factors[u][v] = int32(math.Round(1 << quantizerBits / scale))
			if (t.mirrorX && u&1 > 0) != (t.mirrorY && v&1 > 0) {
				q.factors[u][v] *= -1
			}
			// A value adds at most half its size, times the scale, to a result (A.3.3),
			// and half a step rounds to zero.
			limit = min(limit, scale/dctScale(v))
		}
		q.limits[u] = int32(limit)
	}
	return q
}

// coefficients are the transformed and quantized values of a block.
type coefficients struct {
	// In zig-zag order. Where nonzero has no bit, this may have an old value.
	values [64]int32

	// A bit is set for the first and for each that is not zero, from bit 31 of nonzero[0]
	// on.
	nonzero [2]uint32
}

// quantize transforms the first columns of a block with transformed rows, and quantizes
// them. The other columns are zero.
func (q *quantizer) quantize(c *coefficients, block *[64]int32, columns int) {
	c.nonzero[0], c.nonzero[1] = 1<<31, 0
	c.values[0] = 0
	for u := range columns {
		s := (*[57]int32)(block[u:])
		s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[8], s[16], s[24], s[32], s[40], s[48], s[56]
		level := q.level // for the first coefficient
		// Fine detail is often too faint to be kept. This check saves 12 % of the
		// encoder's instructions on ARMv6 with smooth pictures and 3 to 5 % with
		// photographs. It costs 1 % with the noise of a dark room.
		if u > 0 {
			level = 0
			sum := (s0 ^ s0>>31) + (s1 ^ s1>>31) + (s2 ^ s2>>31) + (s3 ^ s3>>31) +
				(s4 ^ s4>>31) + (s5 ^ s5>>31) + (s6 ^ s6>>31) + (s7 ^ s7>>31)
			if sum < q.limits[u] {
				continue
			}
		}
		f, z := &q.factors[u], &q.places[u]
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
	// Samples beyond black and white could make it 1202. The difference to that of another
	// block may only have 11 bits and a sign (F.1.2.1).
	c.values[0] = min(max(c.values[0], -1024), 1023)
}

// put rounds a coefficient with quantizerBits behind the point, and puts it at its place
// unless it is zero.
func (c *coefficients) put(at uint8, v int32) {
	v += 1 << (quantizerBits - 1)
	if uint32(v) >= 1<<quantizerBits {
		c.values[at&63] = v >> quantizerBits
		c.nonzero[at>>5&1] |= 1 << 31 >> (at & 31)
	}
}

// zigzag has the places of coefficients in zig-zag order, by column and row (figure A.6).
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

// Quantization tables, by row and column (K.1).
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

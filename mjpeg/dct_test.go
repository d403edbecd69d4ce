package mjpeg

import (
	"math"
	"math/rand/v2"
	"testing"
)

// cosines[n][i] is what value i contributes to result n of a transform (T.81,
// A.3.3).
var cosines = func() (c [8][8]float64) {
	for n := range c {
		for i := range c[n] {
			c[n][i] = math.Cos(float64(2*i+1)*float64(n)*math.Pi/16) / 2
			if n == 0 {
				c[n][i] /= math.Sqrt2
			}
		}
	}
	return c
}()

// exact returns a coefficient of a block, not quantized.
func exact(block *[64]int32, r sampleRange, u, v int) (sum float64) {
	for i, s := range block {
		sum += (float64(s) - r.middle) * r.gain * cosines[u][i%8] * cosines[v][i/8]
	}
	return sum
}

// What is quantized is as near to the exact coefficients as there are steps,
// and never far beyond: nothing overflows, and what is skipped is zero. None is more
// than a JPEG can have.
func TestQuantize(t *testing.T) {
	tests := []struct {
		table *[8][8]int
		sampleRange
	}{
		{&lumaSteps, fullRange}, {&chromaSteps, fullRange},
		{&lumaSteps, limitedLuma}, {&chromaSteps, limitedChroma}, {&chromaSteps, limitedRGBChroma},
	}
	for _, test := range tests {
		for quality := 1; quality <= 100; quality += 3 {
			q := newQuantizer(test.table, quality, test.sampleRange, turn{})
			for i, block := range hardBlocks() {
				var c coefficients
				transformed := block
				q.quantize(&c, &transformed, transformRows(&transformed))
				for u := range 8 {
					for v := range 8 {
						at := zigzag[u][v]
						got := c.values[at]
						if c.nonzero[at/32]<<(at%32)>>31 == 0 {
							got = 0
						}
						want := exact(&block, test.sampleRange, u, v) / float64(q.steps[at])
						if at == 0 {
							want = min(max(want, -1024), 1023)
						}
						if off := math.Abs(float64(got) - want); off > 0.7 {
							t.Fatalf("%v, quality %d, block %d, column %d, row %d: got %d, want %.2f", test.sampleRange, quality, i, u, v, got, want)
						}
					}
				}
			}
		}
	}
}

// hardBlocks returns blocks that have the largest coefficients there are, each
// of one sign and the other, and blocks of more and more noise.
func hardBlocks() [][64]int32 {
	var blocks [][64]int32
	for n := range 128 {
		var b [64]int32
		for i := range b {
			if (cosines[n%8][i%8]*cosines[n/8%8][i/8] > 0) == (n < 64) {
				b[i] = 255
			}
		}
		blocks = append(blocks, b)
	}
	random := rand.New(rand.NewPCG(7, 8))
	for n := range 256 {
		var b [64]int32
		for i := range b {
			b[i] = 128 + int32(random.IntN(n+1)-(n+1)/2)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

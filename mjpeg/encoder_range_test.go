package mjpeg

import (
	"bytes"
	"math"
	"os/exec"
	"testing"
)

// expanded returns what a sample of limited range is in a JPEG (ITU-R BT.601):
// black from 16 and white from 235, chrominance from 16 to 240.
func expanded(s uint8, component int) uint8 {
	v := (float64(s) - 16) * 255 / 219
	if component > 0 {
		v = 128 + (float64(s)-128)*255/224
	}
	return uint8(math.Round(min(max(v, 0), 255)))
}

// encodeLimited encodes a picture of limited range, and returns what it must show.
func encodeLimited(t *testing.T, r rawPicture, quality int) (picture []byte, want [][]uint8) {
	t.Helper()
	picture, err := newTestEncoder(t, r, quality, true).Append(nil, r.planes()...)
	if err != nil {
		t.Fatal(err)
	}
	want = samplesOf(r.image())
	for n, samples := range want {
		for i, s := range samples {
			samples[i] = expanded(s, n)
		}
	}
	return picture, want
}

// Black, white and all colours in between come out as they are, of whichever range
// the raw picture was.
func TestEncodeLimited(t *testing.T) {
	ramp := func(x, y, n int) uint8 {
		if n == 0 {
			return uint8(16 + min(x, 219)) // to white
		}
		return uint8(16 + 4*min(y, 56)) // over all colours
	}
	for _, format := range rawFormats {
		if findPixelFormat(format).rgb() {
			continue // TestEncodeLimitedRGB
		}
		r := newRawPicture(format, 240, 128, ramp)
		for _, quality := range []int{95, 100} {
			picture, want := encodeLimited(t, r, quality)
			for n, got := range decoded(t, picture) {
				if _, most := difference(t, got, want[n]); most > 2 {
					t.Errorf("%s, quality %d, component %d: a sample is off by %d", format, quality, n, most)
				}
				if n == 0 && (got[0] > 1 || got[239] < 254) {
					t.Errorf("%s, quality %d: black is %d and white %d", format, quality, got[0], got[239])
				}
			}
			if full := r.encode(t, quality, 1); !bytes.Equal(full[:80], picture[:80]) {
				t.Errorf("%s, quality %d: the quantization table is another", format, quality)
			}
		}
	}
}

// Samples that are beyond black and white do not spoil a picture: the largest
// coefficients that there can be fit a JPEG, and decoders have nothing to complain of.
func TestEncodeLimitedExtremes(t *testing.T) {
	pictures := testPictures(t)
	blocks := hardBlocks()
	pictures["hard blocks"] = func(x, y, n int) uint8 {
		return uint8(blocks[(y/8*16+x/8)%len(blocks)][y%8*8+x%8])
	}
	for name, sample := range pictures {
		for _, format := range []string{"YUYV", "GREY"} {
			r := newRawPicture(format, 122, 89, sample)
			for _, quality := range []int{1, 50, 92, 93, 97, 100} {
				picture, want := encodeLimited(t, r, quality)
				checkDecoder(t, picture)
				for n, got := range decoded(t, picture) {
					_, most := difference(t, got, want[n])
					if quality == 100 && most > 6 {
						t.Errorf("%s, %s, component %d: a sample is off by %d", name, format, n, most)
					}
				}
			}
		}
	}
}

// checkDecoder lets djpeg decode a picture: it tells what is wrong.
func checkDecoder(t *testing.T, picture []byte) {
	t.Run("djpeg", func(t *testing.T) {
		needs(t, "djpeg")
		cmd := exec.Command("djpeg", "-fast")
		cmd.Stdin = bytes.NewReader(picture)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		if err := cmd.Run(); err != nil || complaints.Len() > 0 {
			t.Fatalf("error %v: %s", err, &complaints)
		}
	})
}

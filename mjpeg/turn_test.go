package mjpeg

import (
	"fmt"
	"runtime"
	"testing"

	"porthole/mjpeg/mjpegtest"
)

// exifOrientations are where a turned picture has the sample of column x and row y of a picture
// whose last column and row are r and b, by orientation: what the table of tag 0112 says of row
// and column 0 (Exif 2.3, section 4.6.4).
var exifOrientations = [9]func(x, y, r, b int) (column, row int){
	1: func(x, y, r, b int) (int, int) { return x, y },         // top, left
	2: func(x, y, r, b int) (int, int) { return r - x, y },     // top, right
	3: func(x, y, r, b int) (int, int) { return r - x, b - y }, // bottom, right
	4: func(x, y, r, b int) (int, int) { return x, b - y },     // bottom, left
	5: func(x, y, r, b int) (int, int) { return y, x },         // left, top
	6: func(x, y, r, b int) (int, int) { return b - y, x },     // right, top
	7: func(x, y, r, b int) (int, int) { return b - y, r - x }, // right, bottom
	8: func(x, y, r, b int) (int, int) { return y, r - x },     // left, bottom
}

// turned returns samples of a picture that is width wide as those of the turned picture.
func turned(samples []uint8, width, orientation int) []uint8 {
	all := make([]uint8, len(samples))
	height := len(samples) / width
	across := width
	if orientation > 4 {
		across = height
	}
	for i, s := range samples {
		column, row := exifOrientations[orientation](i%width, i/width, width-1, height-1)
		all[row*across+column] = s
	}
	return all
}

// encodeTurned encodes a picture on some cores. It has the size that Size says.
func (r rawPicture) encodeTurned(t *testing.T, quality, cores, orientation int) []byte {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	e, err := NewEncoder(RawFormat{
		PixelFormat: r.format, Width: r.width, Height: r.height,
		Strides: mjpegtest.Strides(r.format, r.stride), Orientation: orientation,
	}, quality)
	if err != nil {
		t.Fatal(err)
	}
	want := [2]int{r.width, r.height}
	if orientation > 4 {
		want = [2]int{r.height, r.width}
	}
	if width, height := e.Size(); [2]int{width, height} != want {
		t.Fatalf("the encoder says %dx%d, want %v", width, height, want)
	}
	picture, err := e.Append(nil, r.planes()...)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// A turned picture has the samples of the raw one in other places, at the edges too.
func TestEncodeTurned(t *testing.T) {
	page := testPictures(t)["page"]
	for _, format := range rawFormats {
		for _, size := range [][2]int{{64, 48}, {50, 38}, {54, 639}, {150, 47}, {146, 17}, {2, 1}, {2, 50}} {
			r := newRawPicture(format, size[0], size[1], page)
			source := samplesOf(r.image())
			for orientation := 1; orientation <= 8; orientation++ {
				for _, cores := range []int{1, 3} {
					got := decoded(t, r.encodeTurned(t, 100, cores, orientation))
					for n := range source {
						width := r.width / (1 + min(n, 1))
						if _, most := difference(t, got[n], turned(source[n], width, orientation)); most > 3 {
							t.Errorf("%s, %v, orientation %d, %d cores, component %d: a sample is off by %d", format, size, orientation, cores, n, most)
						}
					}
				}
			}
		}
	}
}

// An odd width of grey is none that is made even.
func TestEncodeTurnedOdd(t *testing.T) {
	r := newRawPicture("GREY", 77, 55, testPictures(t)["page"])
	for orientation := 1; orientation <= 8; orientation++ {
		got := decoded(t, r.encodeTurned(t, 100, 1, orientation))
		if _, most := difference(t, got[0], turned(samplesOf(r.image())[0], r.width, orientation)); most > 3 {
			t.Errorf("orientation %d: a sample is off by %d", orientation, most)
		}
	}
}

// A turned picture is as good as one that was turned before it was encoded, and as small.
func TestEncodeTurnedQuality(t *testing.T) {
	const width, height = 320, 240
	page := testPictures(t)["page"]
	source := newRawPicture("YU12", width, height, page)
	for orientation := 1; orientation <= 8; orientation++ {
		across, down := width, height
		if orientation > 4 {
			across, down = height, width
		}
		var planes [3][]uint8
		for n, samples := range samplesOf(source.image()) {
			planes[n] = turned(samples, width/(1+min(n, 1)), orientation)
		}
		byHand := newRawPicture("YU12", across, down, func(x, y, n int) uint8 { return planes[n][y*across/(1+min(n, 1))+x] })
		for _, quality := range []int{10, 50, 80, 95} {
			ours, want := source.encodeTurned(t, quality, 1, orientation), byHand.encode(t, quality, 1)
			if d := len(ours) - len(want); d > len(want)/50 || -d > len(want)/50 {
				t.Errorf("orientation %d, quality %d: %d bytes, by hand %d", orientation, quality, len(ours), len(want))
			}
			we, they := decoded(t, ours), decoded(t, want)
			for n := range we {
				if square, _ := difference(t, we[n], they[n]); square > 1 {
					t.Errorf("orientation %d, quality %d, component %d: mean square of differences %.2f", orientation, quality, n, square)
				}
			}
		}
	}
}

func TestEncodeTurnedAllocs(t *testing.T) {
	for _, format := range []string{"YUYV", "NM12", "YU12", "RGB3", "GREY"} {
		r := newRawPicture(format, 320, 240, testPictures(t)["page"])
		for _, orientation := range []int{3, 6} {
			e, err := NewEncoder(RawFormat{PixelFormat: format, Width: 320, Height: 240, Strides: mjpegtest.Strides(format, r.stride), Orientation: orientation}, 80)
			if err != nil {
				t.Fatal(err)
			}
			dst, planes := make([]byte, 0, len(r.data)), r.planes()
			if got := testing.AllocsPerRun(20, func() { e.Append(dst, planes...) }); got != 0 {
				t.Errorf("%s, orientation %d: %v allocations per picture, want none", format, orientation, got)
			}
		}
	}
}

func TestEncodeNoOrientation(t *testing.T) {
	for _, orientation := range []int{-1, 9} {
		want := fmt.Sprintf("no orientation %d: it must be from 1 to 8", orientation)
		_, err := NewEncoder(RawFormat{PixelFormat: "YUYV", Width: 64, Height: 48, Orientation: orientation}, 80)
		if err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

// BenchmarkEncodeTurned has half a turn, which takes rows, and a quarter, which takes columns.
func BenchmarkEncodeTurned(b *testing.B) {
	for _, format := range rawFormats {
		r := newRawPicture(format, 640, 480, testPictures(b)["page"])
		for _, orientation := range []int{1, 3, 6} {
			b.Run(fmt.Sprint(format, " ", orientation), func(b *testing.B) {
				e, err := NewEncoder(RawFormat{PixelFormat: format, Width: 640, Height: 480, Strides: mjpegtest.Strides(format, r.stride), Orientation: orientation}, 80)
				if err != nil {
					b.Fatal(err)
				}
				dst, planes := make([]byte, 0, len(r.data)), r.planes()
				b.SetBytes(int64(len(r.data)))
				for b.Loop() {
					e.Append(dst, planes...)
				}
			})
		}
	}
}

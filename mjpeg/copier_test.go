package mjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"porthole/mjpeg/mjpegtest"
)

// A picture encodes to the same JPEG from where it was as from where it was copied to.
func TestCopier(t *testing.T) {
	layouts := []struct{ from, to string }{
		{"YUYV", "YUYV"}, {"UYVY", "UYVY"}, {"NV12", "NV12"}, {"NV12", "NM12"}, {"NM21", "NV21"}, {"NV16", "NM16"},
		{"YU12", "YU12"}, {"YU12", "YM12"}, {"YM12", "YU12"}, {"YV12", "YM21"}, {"RGB3", "RGB3"}, {"RGBP", "RGBP"}, {"GREY", "GREY"},
	}
	for _, l := range layouts {
		for _, size := range [][2]int{{64, 48}, {161, 121}, {2, 3}} {
			for _, limited := range []bool{false, true} {
				for _, padding := range []int{0, 32} {
					name := fmt.Sprintf("%s to %s %dx%d limited=%v padding=%d", l.from, l.to, size[0], size[1], limited, padding)
					t.Run(name, func(t *testing.T) { testCopier(t, l.from, l.to, size[0], size[1], limited, padding) })
				}
			}
		}
	}
}

func testCopier(t *testing.T, fromFormat, toFormat string, width, height int, limited bool, padding int) {
	from := RawFormat{PixelFormat: fromFormat, Width: width, Height: height, LimitedRange: limited}
	to := RawFormat{PixelFormat: toFormat, Width: width, Height: height}
	if padding > 0 {
		to.Rows = (height + 15) &^ 15
		to.Strides = mjpegtest.Strides(toFormat, (width*4+padding)&^(padding-1))
	}
	source, target := noisePlanes(t, from), noisePlanes(t, to)
	c, err := NewCopier(from, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	want, got := encode(t, from, source), encode(t, to, target)
	switch {
	case !limited && !bytes.Equal(got, want):
		t.Error("the copy is another picture")
	case limited && fromFormat != "RGBP":
		for i, samples := range decoded(t, got) {
			if square, most := difference(t, samples, decoded(t, want)[i]); square > 4 || most > 12 {
				t.Errorf("component %d: the mean square of differences is %.1f, the largest %d", i, square, most)
			}
		}
	}
	short := append([][]byte{source[0][:len(source[0])/2]}, source[1:]...)
	if err := c.Copy(target, short); !errors.Is(err, ErrDamaged) {
		t.Errorf("half a picture: got error %v", err)
	}
	if err := c.Copy(target[:0], source); !errors.Is(err, ErrDamaged) {
		t.Errorf("no memory: got error %v", err)
	}
}

// noisePlanes returns planes of memory of the length that f has, with values of television.
func noisePlanes(t *testing.T, f RawFormat) (planes [][]byte) {
	_, layout, _, err := f.layout()
	if err != nil {
		t.Fatal(err)
	}
	lengths := map[int]int{}
	for _, p := range layout {
		lengths[p.memory] = p.offset + p.height*p.stride
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range len(lengths) {
		planes = append(planes, nil)
		for range lengths[i] {
			planes[i] = append(planes[i], byte(60+random.IntN(120)))
		}
	}
	return planes
}

func encode(t *testing.T, f RawFormat, planes [][]byte) []byte {
	t.Helper()
	e, err := NewEncoder(f, 95)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := e.Append(nil, planes...)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func TestCopierAllocs(t *testing.T) {
	from := RawFormat{PixelFormat: "YUYV", Width: 64, Height: 48, LimitedRange: true}
	to := RawFormat{PixelFormat: "YUYV", Width: 64, Height: 48, Strides: [3]int{256}}
	source, target := noisePlanes(t, from), noisePlanes(t, to)
	c, err := NewCopier(from, to)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() { c.Copy(target, source) }); n > 0 {
		t.Errorf("got %v allocations per picture, want none", n)
	}
}

func TestCopierOther(t *testing.T) {
	yuyv := RawFormat{PixelFormat: "YUYV", Width: 64, Height: 48}
	for _, to := range []RawFormat{
		{PixelFormat: "UYVY", Width: 64, Height: 48}, {PixelFormat: "YUYV", Width: 64, Height: 32}, {PixelFormat: "H264", Width: 64, Height: 48},
	} {
		if _, err := NewCopier(yuyv, to); err == nil {
			t.Errorf("%+v: got no error", to)
		}
	}
}

package card

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
)

// What is drawn can be read back, also from small pictures of low quality.
func TestReadDrawn(t *testing.T) {
	windows := []Window{Whole, {1, 1, 0, 0}, {0.17, 0.17, 0.83, 0.83}, {0.3, 0.31, 0.69, 0.7}, {0.125, 0, 0.875, 1}}
	for i, size := range []image.Point{{640, 480}, {640, 360}, {160, 120}} {
		for number := range Numbers {
			want := Frame{number, number%2 == 0, windows[(i+number)%len(windows)]}
			got, ok := Read(compress(t, picture(size, want), 50))
			if !ok || got.Number != want.Number || got.Settled != want.Settled || !got.Window.Near(want.Window, 0.02) {
				t.Errorf("%v: got %+v, %v, want %+v", size, got, ok, want)
			}
		}
	}
}

func picture(size image.Point, f Frame) *image.YCbCr {
	m := Draw(size.X, size.Y, f.Window)
	if !f.Settled {
		Darken(m)
	}
	Mark(m, f.Number, f.Settled)
	return m
}

func compress(t *testing.T, m image.Image, quality int) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Other pictures are not taken for the card.
func TestReadOther(t *testing.T) {
	grey := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	if f, ok := Read(grey); ok {
		t.Errorf("read %+v from one colour", f)
	}
	Mark(grey, 3, true)
	for i := range grey.Cb {
		grey.Cb[i] = byte(i * i)
	}
	if f, ok := Read(grey); ok {
		t.Errorf("read %+v from random colours", f)
	}
}

package main

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
	"time"
)

// checkSight waits until one of the emulated camera's pictures is seen in the
// element with an id, or with "" in the whole window, as large as it can be.
func checkSight(t *testing.T, b *browser, id string) {
	t.Helper()
	box := struct{ X, Y, Width, Height float64 }{}
	if id != "" {
		b.eval(t, &box, "return document.getElementById(arguments[0]).getBoundingClientRect().toJSON()", id)
	}
	var difference int
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		window := b.photograph(t)
		area := image.Rect(int(box.X), int(box.Y), int(box.X+box.Width), int(box.Y+box.Height))
		if id == "" {
			area = window.Bounds()
		}
		seen := thumbnail(window, contain(area, 4, 3))
		difference = 255
		for _, picture := range [][]byte{picture1, picture2, picture3} {
			want, err := jpeg.Decode(bytes.NewReader(picture))
			if err != nil {
				t.Fatal(err)
			}
			difference = min(difference, seen.difference(thumbnail(want, want.Bounds())))
		}
		if difference < 8 {
			return
		}
	}
	t.Errorf("after %v, none of the pictures is to be seen; the most similar one differs by %d of 255", limit, difference)
}

// contain returns the largest rectangle of a certain shape in the middle of area.
func contain(area image.Rectangle, width, height int) image.Rectangle {
	w, h := area.Dx(), area.Dx()*height/width
	if h > area.Dy() {
		w, h = area.Dy()*width/height, area.Dy()
	}
	at := area.Min.Add(image.Pt((area.Dx()-w)/2, (area.Dy()-h)/2))
	return image.Rectangle{at, at.Add(image.Pt(w, h))}
}

// A small is a picture of 16 times 12 fields: the mean red, green and blue of each.
type small [16 * 12 * 3]int

func thumbnail(picture image.Image, area image.Rectangle) (s small) {
	for i := range 16 * 12 {
		x, y := i%16, i/16
		field := image.Rect(area.Dx()*x/16, area.Dy()*y/12, area.Dx()*(x+1)/16, area.Dy()*(y+1)/12).Add(area.Min)
		n := 0
		for y := field.Min.Y; y < field.Max.Y; y += 3 {
			for x := field.Min.X; x < field.Max.X; x += 3 {
				c := color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)
				for j, v := range []uint8{c.R, c.G, c.B} {
					s[3*i+j] += int(v)
				}
				n++
			}
		}
		for j := range 3 {
			s[3*i+j] /= max(n, 1)
		}
	}
	return s
}

// difference returns the mean of all differences.
func (s small) difference(other small) int {
	sum := 0
	for i := range s {
		sum += max(s[i]-other[i], other[i]-s[i])
	}
	return sum / len(s)
}

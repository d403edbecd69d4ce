//go:build linux

package main

import (
	"bytes"
	"image/jpeg"
	"testing"
)

func TestPictures(t *testing.T) {
	for _, first := range []int{0, pictureCount} {
		testPictures(t, first)
	}
}

func testPictures(t *testing.T, first int) {
	for s, a := range newPictureSets(first)["MJPG"] {
		for n, picture := range a {
			m, err := jpeg.Decode(bytes.NewReader(picture))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := readNumber(m); !ok || got != first+n {
				t.Errorf("%v: read number %d, %v; want %d", s, got, ok, first+n)
			}
		}
		if got := len(a[0]); s.width == 640 && (got < 25000 || got > 31000) {
			t.Errorf("a picture of %v has %d bytes, want about 28 KB", s, got)
		}
	}
}

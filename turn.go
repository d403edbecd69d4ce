package main

import (
	"errors"
	"strconv"
)

// A turn is what is done to pictures: they are flipped, and then turned.
type turn struct {
	rotate int    // degrees clockwise: 0, 90, 180 or 270
	flip   string // "h": left and right change places; "v": top and bottom do; "": neither
}

func (t *turn) parseRotate(text string) error {
	degrees, err := strconv.ParseFloat(text, 64) // a program may make 90.0 of 90
	if err != nil || degrees != 0 && degrees != 90 && degrees != 180 && degrees != 270 {
		return errors.New("must be 0, 90, 180 or 270")
	}
	t.rotate = int(degrees)
	return nil
}

func (t *turn) parseFlip(text string) error {
	if text != "" && text != "h" && text != "v" {
		return errors.New("must be h, v or nothing")
	}
	t.flip = text
	return nil
}

// orientation returns the turn as an Exif orientation, from 1, which is none, to 8.
func (t turn) orientation() int {
	quarters := t.rotate / 90
	switch t.flip {
	case "h":
		return [...]int{2, 7, 4, 5}[quarters]
	case "v":
		return [...]int{4, 5, 2, 7}[quarters]
	}
	return [...]int{1, 6, 3, 8}[quarters]
}

// size returns the size that pictures of the camera have when they are turned, or the other way
// round.
func (t turn) size(width, height int) (int, int) {
	if t.orientation() > 4 {
		return height, width
	}
	return width, height
}

// flips returns what a camera does that flips its pictures, left and right, top and bottom. It is
// not ok if that is not the whole turn, or if there is none.
func (t turn) flips() (h, v int64, ok bool) {
	switch t.orientation() {
	case 2:
		return 1, 0, true
	case 3:
		return 1, 1, true
	case 4:
		return 0, 1, true
	}
	return 0, 0, false
}

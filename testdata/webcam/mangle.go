//go:build linux

package main

import (
	"bytes"
	"slices"
)

// A mangler does to a JPEG what happens to some on their way, or what some cameras do.
type mangler struct {
	spoils bool // nobody could show all of it
	mangle func(picture []byte) []byte
}

// manglers are for pictures of image/jpeg: they have one scan, and no restart markers.
var manglers = map[string]mangler{
	"hole":       {true, func(p []byte) []byte { return slices.Delete(p, len(p)/2, len(p)/2+1024) }},
	"marker":     {true, func(p []byte) []byte { return slices.Insert(p, len(p)/2, 0xff, 0xc5) }},
	"half":       {true, func(p []byte) []byte { return slices.Concat(p[:len(p)/2], p) }},
	"half-ended": {true, func(p []byte) []byte { return slices.Concat(p[:len(p)/2], end) }},
	"no-data":    {true, func(p []byte) []byte { return slices.Concat(p[:dataAt(p)], end) }},
	"no-height":  {true, withoutHeight},

	"no-end":       {false, func(p []byte) []byte { return p[:len(p)-len(end)] }},
	"two-ends":     {false, func(p []byte) []byte { return slices.Concat(p, end) }},
	"two-pictures": {false, func(p []byte) []byte { return slices.Concat(p, p) }},
	"front":        {false, func(p []byte) []byte { return slices.Concat([]byte{0xff, 0, 0}, p[len(p)-100:], p) }},
	"gap":          {false, func(p []byte) []byte { return slices.Insert(p, bytes.Index(p, tables), []byte("gap")...) }},
}

// Markers (ITU-T T.81, table B.1).
var (
	end         = []byte{0xff, 0xd9}
	tables      = []byte{0xff, 0xc4}
	frameHeader = []byte{0xff, 0xc0}
	scanHeader  = []byte{0xff, 0xda}
)

// dataAt returns where the data of the scan begins.
func dataAt(p []byte) int {
	at := bytes.Index(p, scanHeader)
	return at + 2 + int(p[at+2])<<8 + int(p[at+3])
}

// withoutHeight has 0 where the frame header tells the height (section B.2.2).
func withoutHeight(p []byte) []byte {
	at := bytes.Index(p, frameHeader)
	p[at+5], p[at+6] = 0, 0
	return p
}

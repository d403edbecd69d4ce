//go:build linux

package main

import (
	"bytes"
	"testing"

	"porthole/mjpeg"
)

// Porthole shows what is odd at most as it was, and nothing of what is spoiled.
func TestManglers(t *testing.T) {
	picture := encode(drawPicture(size{640, 480}, 1), "MJPG")
	for name, m := range manglers {
		var repairer mjpeg.Repairer
		got, err := repairer.Append(nil, m.mangle(bytes.Clone(picture)))
		if m.spoils != (err != nil) || !m.spoils && !bytes.Equal(got, picture) {
			t.Errorf("%s: got %d bytes, error %v; spoiled: %v", name, len(got), err, m.spoils)
		}
	}
}

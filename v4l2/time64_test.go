//go:build linux && (386 || arm)

package v4l2_test

import (
	"testing"

	"porthole/v4l2/v4l2test"
)

// A kernel for 32 bits without 32-bit time has another layout for buffers.
func TestTime64(t *testing.T) {
	c := v4l2test.NewCamera()
	c.Time64 = true
	c.Show([]byte("a picture"))
	if picture, err := capture(c); err != nil || string(picture) != "a picture" {
		t.Errorf("got %q, error %v", picture, err)
	}
}

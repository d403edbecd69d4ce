//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

// newMplaneCamera returns a camera that has pictures in three planes of memory, and no
// requests for others.
func newMplaneCamera() *v4l2test.Camera {
	c := v4l2test.NewCamera()
	c.DeviceCaps = v4l2.CapVideoCaptureMplane | v4l2.CapStreaming
	c.Capabilities = c.DeviceCaps | uapi.V4L2_CAP_DEVICE_CAPS
	c.Formats, c.Strides = []string{"YM12"}, []uint32{64, 32, 48}
	c.Batches = [][]v4l2test.Picture{{{Data: []byte("luminance"), More: [][]byte{[]byte("blue"), []byte("red")}}}}
	return c
}

func TestCaptureMplane(t *testing.T) {
	for _, time64 := range []bool{false, true} {
		c := newMplaneCamera()
		c.Time64 = time64 && uapi.TimeIs32
		picture, err := capture(c)
		if err != nil || string(picture) != "luminance blue red" {
			t.Errorf("got %q, error %v", picture, err)
		}
		c.CheckReleased(t)
	}
}

func TestFormatMplane(t *testing.T) {
	c := newMplaneCamera()
	d := open(t, c)
	d.QueryCap()
	formats, err := d.EnumFormats()
	if err != nil || len(formats) != 1 {
		t.Fatalf("got %v, error %v", formats, err)
	}
	set, err := d.SetFormat(formats[0], v4l2.FrameSize{Width: 64, Height: 48})
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Format()
	if err != nil || got != set {
		t.Errorf("got %+v, error %v, want %+v as it was set", got, err, set)
	}
	want := v4l2.PixFormat{
		PixelFormat: formats[0], FrameSize: v4l2.FrameSize{Width: 64, Height: 48},
		BytesPerLine: [8]int{64, 32, 48}, SizeImage: [8]int{int(c.BufferSize), int(c.BufferSize), int(c.BufferSize)},
	}
	if got != want { // its colours are those of JPEG, so the range is full
		t.Errorf("got %+v, want %+v", got, want)
	}
	if p, err := d.Parm(); err != nil || p.TimePerFrame.Rate() != 25 {
		t.Errorf("got %+v, error %v", p, err)
	}
}

// Whichever call fails, its error is returned and everything is given back.
func TestEachCallFailsMplane(t *testing.T) {
	for n := 1; ; n++ {
		c := newMplaneCamera()
		failed := ""
		c.Fail = func(call string) error {
			if len(c.Calls) == n {
				failed = call
				return unix.EIO
			}
			return nil
		}
		_, err := capture(c)
		if failed == "" {
			return
		}
		if !errors.Is(err, unix.EIO) && failed != "wait" {
			t.Errorf("call %d, %s: got error %v, want %v", n, failed, err, unix.EIO)
		}
		c.CheckReleased(t)
	}
}

// The data of a plane may begin behind something else, and must be within the plane.
func TestDequeueMplane(t *testing.T) {
	for name, test := range map[string]struct {
		change func(p []uapi.Plane)
		want   string // "": an error
	}{
		"offset":        {func(p []uapi.Plane) { p[0].DataOffset = 4 }, "nance blue red"},
		"all in front":  {func(p []uapi.Plane) { p[1].DataOffset = 1 << 31 }, "luminance  red"},
		"too long":      {func(p []uapi.Plane) { p[2].BytesUsed = p[2].Length + 1 }, ""},
		"much too long": {func(p []uapi.Plane) { p[2].BytesUsed = 1<<32 - 1 }, ""},
	} {
		c := newMplaneCamera()
		c.Batches[0][0].Change = func(b *uapi.Buffer) { test.change(v4l2test.Planes(b)) }
		got, err := capture(c)
		if string(got) != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, error %v; want %q", name, got, err, test.want)
		}
		c.CheckReleased(t)
	}
}

func TestCaptureMplaneAllocates(t *testing.T) {
	c := newMplaneCamera()
	c.Endless = true
	d := open(t, c)
	d.QueryCap()
	d.RequestBuffers(2)
	if err := d.StreamOn(); err != nil {
		t.Fatal(err)
	}
	d.SetDeadline(time.Now().Add(time.Minute))
	wantNoAllocs(t, c, d)
}

// A device that has both kinds of requests gets those for one plane.
func TestBothKinds(t *testing.T) {
	c := v4l2test.NewCamera()
	c.DeviceCaps |= v4l2.CapVideoCaptureMplane
	c.Show([]byte("a picture"))
	if picture, err := capture(c); err != nil || string(picture) != "a picture" {
		t.Errorf("got %q, error %v", picture, err)
	}
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

const encoderPath = "/dev/video31"

// newEncoder returns an encoder whose coded pictures tell what it was given.
func newEncoder() *v4l2test.Encoder {
	return v4l2test.NewEncoder(func(p v4l2test.RawPicture) []byte {
		return fmt.Appendf(nil, "%s %dx%d %d %v q%d %.8s", p.PixelFormat, p.Width, p.Height, p.Rows, p.Strides, p.Quality, p.Planes[0])
	})
}

func onlyEncoder(e *v4l2test.Encoder) *v4l2test.Board {
	b := v4l2test.NewBoard(nil)
	b.PlugEncoder(encoderPath, e)
	return b
}

// openEncoder opens the encoder for pictures of 640x360.
func openEncoder(t *testing.T, b *v4l2test.Board, format string, quality int) (*v4l2.Encoder, error) {
	t.Helper()
	nodes := v4l2.Encoders(b)
	if len(nodes) == 0 {
		return nil, errors.New("no encoder found")
	}
	return v4l2.OpenEncoder(b, nodes[0], v4l2.EncoderConfig{
		PixelFormat: v4l2.MakeFourCC(format), FrameSize: v4l2.FrameSize{Width: 640, Height: 360}, Quality: quality, FPS: 15,
	})
}

// encode encodes a picture that begins with a text.
func encode(e *v4l2.Encoder, text string) (string, error) {
	copy(e.Planes()[0], text)
	coded, err := e.Encode(time.Second)
	if err != nil {
		return "", err
	}
	got := string(coded)
	return got, e.Release()
}

func TestEncoder(t *testing.T) {
	for _, test := range []struct {
		name, format string
		change       func(e *v4l2test.Encoder)
		want         string
	}{
		{"Raspberry Pi", "YU12", func(*v4l2test.Encoder) {}, "YU12 640x360 368 [640 0 0] q80 picture "},
		{"packed", "YUYV", func(*v4l2test.Encoder) {}, "YUYV 640x360 368 [1280 0 0] q80 picture "},
		{"three planes", "YM12", func(e *v4l2test.Encoder) { e.Raw = []string{"YM12"} }, "YM12 640x360 368 [640 320 320] q80 picture "},
		{"single-planar", "NV12", func(e *v4l2test.Encoder) { e.Single, e.Rows = true, 8 }, "NV12 640x360 360 [640 0 0] q80 picture "},
		{"padded rows", "YU12", func(e *v4l2test.Encoder) { e.Stride = 512 }, "YU12 640x360 368 [1024 0 0] q80 picture "},
		{"rubbish first", "YU12", func(e *v4l2test.Encoder) { e.Before = []byte("rubbish") }, "YU12 640x360 368 [640 0 0] q80 picture "},
		{"not below 90", "YU12", func(e *v4l2test.Encoder) { e.Quality = [2]int64{90, 100} }, "YU12 640x360 368 [640 0 0] q90 picture "},
		{"four qualities", "YU12", func(e *v4l2test.Encoder) { e.Quality = [2]int64{0, 3} }, "YU12 640x360 368 [640 0 0] q2 picture "},
		{"bit rate", "YU12", func(e *v4l2test.Encoder) { e.Coded, e.Quality = []string{"H264", "MJPG"}, [2]int64{} }, "YU12 640x360 368 [640 0 0] q3456000 picture "},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := newEncoder()
			test.change(fake)
			b := onlyEncoder(fake)
			e, err := openEncoder(t, b, test.format, 80)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got, err := encode(e, "picture 1"); got != test.want || err != nil {
					t.Errorf("got %q, error %v; want %q", got, err, test.want)
				}
			}
			if fake.Rate != 15 {
				t.Errorf("it was told %v pictures a second, want 15", fake.Rate)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			calls := strings.Join(fake.Calls, " ")
			const end = "STREAMOFF STREAMOFF munmap munmap REQBUFS 0 REQBUFS 0 close"
			if test.name == "Raspberry Pi" && !strings.HasSuffix(calls, end) {
				t.Errorf("calls %s: want %s at the end", calls, end)
			}
			fake.CheckReleased(t)
		})
	}
}

// Encoders are told by their formats. One that makes JPEG comes before one that makes MJPG.
func TestEncoders(t *testing.T) {
	camera, video, still, decoder, other := v4l2test.NewCamera(), newEncoder(), newEncoder(), newEncoder(), newEncoder()
	video.Coded, still.Coded = []string{"H264", "MJPG"}, []string{"JPEG"}
	decoder.Raw, decoder.Coded = []string{"JPEG"}, []string{"YU12"}
	other.Fail = v4l2test.FailAt("open", unix.EACCES)
	b := v4l2test.NewBoard(map[string]*v4l2test.Camera{"/dev/video0": camera})
	for path, e := range map[string]*v4l2test.Encoder{"/dev/video10": decoder, "/dev/video11": video, "/dev/video12": other, "/dev/video31": still} {
		b.PlugEncoder(path, e)
	}
	var got []string
	for _, n := range v4l2.Encoders(b) {
		got = append(got, fmt.Sprint(n.Path, " ", n.Coded, " ", n.Driver, " ", n.Raw))
	}
	want := "/dev/video31 JPEG bcm2835-codec [YU12 NV12 YUYV RGB3], /dev/video11 MJPG bcm2835-codec [YU12 NV12 YUYV RGB3]"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	b.CheckReleased(t)
}

func TestEncoderRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(e *v4l2test.Encoder)
		want   string
	}{
		"format":   {func(e *v4l2test.Encoder) { e.Raw = []string{"NV12"} }, "it takes no pictures of the format YU12"},
		"size":     {func(e *v4l2test.Encoder) { e.Largest = 320 }, "it takes no pictures of 640x360"},
		"firmware": {func(e *v4l2test.Encoder) { e.Fail = nil }, ""},
		"busy":     {func(e *v4l2test.Encoder) { e.Fail = v4l2test.FailAt("STREAMON", unix.EBUSY) }, "ioctl(VIDIOC_STREAMON): device or resource busy"},
		"memory":   {func(e *v4l2test.Encoder) { e.Fail = v4l2test.FailAt("REQBUFS", unix.ENOMEM) }, "ioctl(VIDIOC_REQBUFS): cannot allocate memory"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newEncoder()
			b := onlyEncoder(fake)
			nodes := v4l2.Encoders(b)
			test.change(fake)
			e, err := v4l2.OpenEncoder(b, nodes[0], v4l2.EncoderConfig{
				PixelFormat: v4l2.MakeFourCC("YU12"), FrameSize: v4l2.FrameSize{Width: 640, Height: 360}, Quality: 80,
			})
			if err == nil {
				e.Close()
			}
			if fmt.Sprint(err) != test.want && test.want != "" || (err == nil) != (test.want == "") {
				t.Errorf("got error %v, want %s", err, test.want)
			}
			fake.CheckReleased(t)
		})
	}
}

// A Raspberry Pi that has no start_x=1 lists JPEG at times, and does not set it.
func TestEncoderFormatRefused(t *testing.T) {
	fake := newEncoder()
	b := onlyEncoder(fake)
	nodes := v4l2.Encoders(b)
	fake.Coded = []string{"H264"}
	_, err := v4l2.OpenEncoder(b, nodes[0], v4l2.EncoderConfig{
		PixelFormat: v4l2.MakeFourCC("YU12"), FrameSize: v4l2.FrameSize{Width: 640, Height: 360}, Quality: 80,
	})
	if want := "it makes no JPEG at present"; fmt.Sprint(err) != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	fake.CheckReleased(t)
}

func TestEncodeFails(t *testing.T) {
	for name, test := range map[string]struct {
		change func(e *v4l2test.Encoder, b *v4l2test.Board)
		want   string
	}{
		"stalled": {func(e *v4l2test.Encoder, _ *v4l2test.Board) {
			e.Answer = func(int, []byte) ([]byte, uint32, bool) { return nil, 0, false }
		}, "it has stalled"},
		"flagged": {func(e *v4l2test.Encoder, _ *v4l2test.Board) {
			e.Answer = func(_ int, jpeg []byte) ([]byte, uint32, bool) { return jpeg, uapi.V4L2_BUF_FLAG_ERROR, true }
		}, "it could not encode a picture"},
		"empty": {func(e *v4l2test.Encoder, _ *v4l2test.Board) {
			e.Answer = func(int, []byte) ([]byte, uint32, bool) { return nil, 0, true }
		}, "it could not encode a picture"},
		"unplugged": {func(_ *v4l2test.Encoder, b *v4l2test.Board) { b.Unplug(encoderPath) }, "ioctl(VIDIOC_QBUF): no such device"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newEncoder()
				b := onlyEncoder(fake)
				e, err := openEncoder(t, b, "YU12", 80)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := encode(e, "good"); err != nil {
					t.Fatal(err)
				}
				test.change(fake, b)
				start := time.Now()
				if _, err = encode(e, "bad"); fmt.Sprint(err) != test.want {
					t.Errorf("got error %v, want %s", err, test.want)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v, want a second at most", took)
				}
				e.Close()
				fake.CheckReleased(t)
			})
		})
	}
}

// Whichever call fails, its error is returned and everything is given back. Some calls are
// optional.
func TestEachEncoderCallFails(t *testing.T) {
	for n := 1; ; n++ {
		fake := newEncoder()
		b := onlyEncoder(fake)
		nodes := v4l2.Encoders(b)
		count, failed := 0, ""
		fake.Fail = func(call string) error {
			if count++; count == n {
				failed = call
				return unix.EIO
			}
			return nil
		}
		e, err := v4l2.OpenEncoder(b, nodes[0], v4l2.EncoderConfig{
			PixelFormat: v4l2.MakeFourCC("YU12"), FrameSize: v4l2.FrameSize{Width: 640, Height: 360}, Quality: 80,
		})
		if err == nil {
			_, err = encode(e, "picture")
			err = errors.Join(err, e.Close())
		}
		if failed == "" {
			return // there are no more calls
		}
		optional := failed == "QUERY_EXT_CTRL" || failed == "S_EXT_CTRLS" || failed == "S_SELECTION" || failed == "S_PARM"
		if (err == nil) != optional {
			t.Errorf("call %d, %s: got error %v", n, failed, err)
		}
		fake.CheckReleased(t)
	}
}

func TestEncodeAllocates(t *testing.T) {
	fake := newEncoder()
	jpeg := []byte("jpeg")
	fake.JPEG = func(v4l2test.RawPicture) []byte { return jpeg }
	e, err := openEncoder(t, onlyEncoder(fake), "YU12", 80)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fake.Quiet = true
	allocs := testing.AllocsPerRun(100, func() {
		_, err := e.Encode(time.Second)
		if err := errors.Join(err, e.Release()); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per picture, want none", allocs)
	}
}

// The sizes are those of libjpeg beside its size at quality 80, the mean of two photographs.
func TestBitsPerPixel(t *testing.T) {
	for quality, want := range map[int]float64{10: 0.28, 50: 0.6, 80: 1, 90: 1.4, 95: 1.9, 100: 3} {
		if got := v4l2.BitsPerPixel(quality); math.Abs(got-want) > want/8 {
			t.Errorf("quality %d: got %.2f bits per pixel, want about %v", quality, got, want)
		}
	}
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"image/jpeg"
	"log"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"porthole/mjpeg"
	"porthole/mjpeg/mjpegtest"
	"porthole/v4l2"
	"porthole/v4l2/uapi"
	"porthole/v4l2/v4l2test"
)

const encoderPath = "/dev/video31"

// colours is a picture in which each place has another colour.
func colours(width, height int) mjpegtest.Scene {
	return mjpegtest.Scene{Width: width, Height: height, Color: func(x, y int) color.YCbCr {
		return color.YCbCr{Y: uint8(40 + 160*x/width), Cb: uint8(112 + 32*y/height), Cr: uint8(144 - 32*x/width)}
	}}
}

// encodeRaw is what a v4l2test.Encoder makes of a picture.
func encodeRaw(p v4l2test.RawPicture) []byte {
	e, err := mjpeg.NewEncoder(mjpeg.RawFormat{
		PixelFormat: p.PixelFormat, Width: p.Width, Height: p.Height, Strides: p.Strides, Rows: p.Rows,
	}, int(p.Quality))
	if err != nil {
		return nil
	}
	picture, _ := e.Append(nil, p.Planes...)
	return picture
}

// rawCamera returns a camera that gives a raw picture each 100 ms.
func rawCamera(format string, s mjpegtest.Scene) *v4l2test.Camera {
	k := v4l2test.NewCamera()
	k.Formats, k.BufferSize = []string{format}, 1<<16
	stride := mjpegtest.Stride(format, s.Width)
	k.Grant = func(pix *uapi.PixFormat) {
		pix.Width, pix.Height, pix.BytesPerLine = uint32(s.Width), uint32(s.Height), uint32(stride)
	}
	k.Show(s.Draw(format, stride))
	k.Endless, k.Interval = true, 100*time.Millisecond
	return k
}

// withEncoder returns a board with a camera and an encoder.
func withEncoder(k *v4l2test.Camera, e *v4l2test.Encoder) *v4l2test.Board {
	b := v4l2test.NewBoard(map[string]*v4l2test.Camera{fakePath: k})
	b.PlugEncoder(encoderPath, e)
	return b
}

func TestBoardEncoder(t *testing.T) {
	const board, own = "bcm2835-codec /dev/video31", encoderOurs
	for _, test := range []struct {
		format, raw, want string // of the camera; that the encoder takes; who encodes
		width, height     int
	}{
		{"YUYV", "YUYV", board, 64, 48},
		{"YUYV", "YUYV", board, 74, 39},
		{"YUYV", "NV12", own, 64, 48},
		{"UYVY", "UYVY", board, 64, 48},
		{"YU12", "YU12", board, 72, 40},
		{"YU12", "YM12", board, 72, 40},
		{"NV12", "NV12", board, 72, 42},
		{"NV12", "NM12", board, 72, 42},
		{"RGB3", "RGB3", board, 64, 48},
		{"GREY", "GREY", board, 64, 48},
		{"YUYV", "YUYV", own, 2000, 16},
	} {
		t.Run(fmt.Sprintf("%s to %s %dx%d", test.format, test.raw, test.width, test.height), func(t *testing.T) {
			scene := colours(test.width, test.height)
			k, e := rawCamera(test.format, scene), v4l2test.NewEncoder(encodeRaw)
			e.Raw = []string{test.raw}
			b := withEncoder(k, e)
			cam, err := openNode(b, fakePath, smallSize)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				picture, err := captureOne(cam)
				if err != nil {
					t.Fatal(err)
				}
				scene.Check(t, picture)
			}
			if got := cam.Info().Encoder; got != test.want {
				t.Errorf("%s encodes, want %s", got, test.want)
			}
			if err := cam.Close(); err != nil {
				t.Error(err)
			}
			b.CheckReleased(t)
		})
	}
}

// Black and white of television are those of JPEGs, whoever encodes.
func TestBoardEncoderRange(t *testing.T) {
	scene := mjpegtest.Scene{Width: 64, Height: 48, Color: func(x, _ int) color.YCbCr {
		return color.YCbCr{Y: []uint8{16, 235}[x/32], Cb: 128, Cr: 128}
	}}
	k := rawCamera("YUYV", scene)
	grant := k.Grant
	k.Grant = func(pix *uapi.PixFormat) {
		grant(pix)
		pix.Quantization = uapi.V4L2_QUANTIZATION_LIM_RANGE
	}
	b := withEncoder(k, v4l2test.NewEncoder(encodeRaw))
	cam, err := openNode(b, fakePath, smallSize)
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	picture, err := captureOne(cam)
	if err != nil {
		t.Fatal(err)
	}
	full := scene
	full.Color = func(x, _ int) color.YCbCr { return color.YCbCr{Y: []uint8{0, 255}[x/32], Cb: 128, Cr: 128} }
	full.Check(t, picture)
}

// An encoder that cannot be used, and who then makes the JPEGs, is logged once.
func TestBoardEncoderRefused(t *testing.T) {
	fail := func(call string, err error) func(*v4l2test.Encoder) {
		return func(e *v4l2test.Encoder) { e.Fail = v4l2test.FailAt(call, err) }
	}
	for name, test := range map[string]struct {
		change func(e *v4l2test.Encoder)
		want   string
	}{
		"busy":   {fail("S_FMT", unix.EBUSY), "in use by another program"},
		"memory": {fail("REQBUFS", unix.ENOMEM), "no memory for its pictures: give it more (cma=96M in the kernel's command line), or try a smaller -size"},
		"other":  {fail("STREAMON", unix.EIO), "ioctl(VIDIOC_STREAMON): input/output error"},
		"size":   {func(e *v4l2test.Encoder) { e.Largest = 32 }, "it takes no pictures of 64x48"},
	} {
		t.Run(name, func(t *testing.T) {
			e := v4l2test.NewEncoder(encodeRaw)
			test.change(e)
			b := withEncoder(rawCamera("YUYV", colours(64, 48)), e)
			cam, err := openNode(b, fakePath, smallSize)
			if err != nil {
				t.Fatal(err)
			}
			var logged []string
			cam.(logSetter).setLog(func(line string) { logged = append(logged, line) })
			picture, err := captureOne(cam)
			if err != nil {
				t.Fatal(err)
			}
			colours(64, 48).Check(t, picture)
			want := "bcm2835-codec /dev/video31: " + test.want + ": porthole encodes the pictures"
			if got := strings.Join(logged, "\n"); got != want {
				t.Errorf("logged %s, want %s", got, want)
			}
			cam.Close()
			b.CheckReleased(t)
		})
	}
}

// takeovers are ways in which an encoder of the board fails while it runs.
var takeovers = map[string]struct {
	answer func(jpeg []byte) (data []byte, flags uint32, ok bool)
	unplug bool
	why    string // in the log
}{
	"stalls":    {answer: func([]byte) ([]byte, uint32, bool) { return nil, 0, false }, why: "it has stalled"},
	"fails":     {answer: func(j []byte) ([]byte, uint32, bool) { return j, uapi.V4L2_BUF_FLAG_ERROR, true }, why: "it could not encode a picture"},
	"rubbish":   {answer: func(j []byte) ([]byte, uint32, bool) { return bytes.Repeat([]byte{7}, len(j)), 0, true }, why: "it does not make JPEGs: damaged picture: it does not start as a JPEG"},
	"cut":       {answer: func(j []byte) ([]byte, uint32, bool) { return j[:len(j)-20], 0, true }, why: "it does not make JPEGs: damaged picture: it is cut off"},
	"unplugged": {unplug: true, why: "it is gone"},
	"other size": {answer: func([]byte) ([]byte, uint32, bool) {
		other := colours(64, 64)
		p := v4l2test.RawPicture{PixelFormat: "YUYV", Width: 64, Height: 64, Planes: [][]byte{other.Draw("YUYV", 128)}, Quality: 80}
		return encodeRaw(p), 0, true
	}, why: "it makes pictures of 64x64 instead of 64x48"},
}

// Our encoder takes over with the picture that the board's was given. No viewer is
// disconnected, there is one line in the log, and the next opening tries the board's again.
func TestBoardEncoderTakeover(t *testing.T) {
	for name, test := range takeovers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := v4l2test.NewEncoder(encodeRaw)
				b := withEncoder(rawCamera("YUYV", colours(64, 48)), e)
				logged := new(bytes.Buffer)
				want := settings{camera: "auto", width: 64, height: 48, quality: 80}
				sv := newSupervisor(startStream(t), withoutDevices(v4l2Driver(b)), want, 10*time.Second, log.New(logged, "", 0))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan bool)
				go func() { sv.run(ctx); close(done) }()
				defer func() { cancel(); <-done; time.Sleep(time.Second); b.CheckReleased(t) }()
				synctest.Wait()
				v := newViewer(t, sv.stream, 0)
				time.Sleep(3 * time.Second)
				wantEncoder(t, sv, "bcm2835-codec /dev/video31")
				before := v.newest()
				if test.unplug {
					b.Unplug(encoderPath)
				} else {
					e.SetAnswer(func(_ int, jpeg []byte) ([]byte, uint32, bool) { return test.answer(jpeg) })
				}
				time.Sleep(encodeTimeout + 250*time.Millisecond)
				if got := v.newest(); got == before {
					t.Errorf("no picture came for %v", encodeTimeout+250*time.Millisecond)
				}
				time.Sleep(5 * time.Second)
				wantEncoder(t, sv, encoderOurs)
				line := "bcm2835-codec /dev/video31: " + test.why + ": porthole encodes the pictures now\n"
				if strings.Count(logged.String(), "porthole encodes") != 1 || !strings.Contains(logged.String(), line) {
					t.Errorf("logged:\n%swant once %s", logged, line)
				}
				if err := v.ended(); err != nil || sv.currentStatus().Damaged > 0 {
					t.Errorf("the viewer was disconnected (%v), or %d pictures were damaged", err, sv.currentStatus().Damaged)
				}
				if test.unplug {
					return
				}
				e.SetAnswer(nil)
				quality := 70.0
				if err := sv.apply(settingsChange{Quality: &quality}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				wantEncoder(t, sv, "bcm2835-codec /dev/video31")
			})
		})
	}
}

// A panic while the board's encoder is closed costs a line in the log.
func TestBoardEncoderClosePanics(t *testing.T) {
	scene := colours(64, 48)
	raw := mjpeg.RawFormat{PixelFormat: "YUYV", Width: 64, Height: 48, Strides: mjpegtest.Strides("YUYV", 128)}
	k := v4l2test.NewEncoder(encodeRaw)
	board := withEncoder(rawCamera("YUYV", scene), k)
	device, err := openBoardEncoder(board, v4l2.Encoders(board), raw, 80, 30)
	if err != nil {
		t.Fatal(err)
	}
	own, err := mjpeg.NewEncoder(raw, 80)
	if err != nil {
		t.Fatal(err)
	}
	logged := make(chan string, 2)
	e := &encoder{own: own, board: device, name: new(string), log: func(line string) { logged <- line }}
	board.Unplug(encoderPath)
	k.Fail = func(string) error { panic("fault in close") }
	picture, err := e.Append(nil, scene.Draw("YUYV", 128))
	if err != nil || *e.name != encoderOurs {
		t.Errorf("got error %v, and %q encodes; want a picture of %s", err, *e.name, encoderOurs)
	}
	scene.Check(t, picture)
	lines := await(t, "a line", logged) + await(t, "the other", logged)
	if !strings.Contains(lines, "panic: fault in close\n") || !strings.Contains(lines, ": porthole encodes the pictures now") {
		t.Errorf("logged %q, want the panic and who takes over", lines)
	}
}

func wantEncoder(t *testing.T, sv *supervisor, want string) {
	t.Helper()
	if got := sv.currentStatus().Encoder; got != want {
		t.Errorf("%q encodes, want %q", got, want)
	}
}

// Who makes the JPEGs is the camera, else the board, else we, unless -encoder says otherwise.
func TestEncoderChoice(t *testing.T) {
	const board = "bcm2835-codec /dev/video31"
	for _, test := range []struct {
		asked   string
		formats string // of the camera
		want    string // its format, and who encodes
	}{
		{encoderAuto, "YUYV MJPG", "MJPG camera"},
		{encoderAuto, "YUYV", "YUYV " + board},
		{encoderAuto, "YUYV NV12", "NV12 " + board}, // which the encoder takes
		{encoderBoard, "MJPG YUYV", "YUYV " + board},
		{encoderBoard, "MJPG", "MJPG camera"},
		{encoderOwn, "MJPG YUYV", "YUYV porthole"},
		{encoderOwn, "MJPG", "MJPG camera"},
	} {
		t.Run(test.asked+" "+test.formats, func(t *testing.T) {
			k, e := v4l2test.NewCamera(), v4l2test.NewEncoder(encodeRaw)
			k.Formats = strings.Fields(test.formats)
			if strings.Contains(test.formats, "NV12") {
				e.Raw = []string{"NV12"}
			}
			want := smallSize
			want.encoder = test.asked
			cam, err := openNode(withEncoder(k, e), fakePath, want)
			if err != nil {
				t.Fatal(err)
			}
			defer cam.Close()
			if got := cam.Info().Format + " " + cam.Info().Encoder; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if asked := e.Opened > 0; asked == (strings.HasSuffix(test.want, "camera") && test.asked == encoderAuto || test.asked == encoderOwn) {
				t.Errorf("the board's encoder was asked: %v", asked)
			}
		})
	}
}

// Two encoders can do it: one that has no memory leaves it to the other.
func TestSecondBoardEncoder(t *testing.T) {
	full, video := v4l2test.NewEncoder(encodeRaw), v4l2test.NewEncoder(func(p v4l2test.RawPicture) []byte {
		p.Quality = 80
		return encodeRaw(p)
	})
	full.Fail = v4l2test.FailAt("REQBUFS", unix.ENOMEM)
	video.Coded, video.Quality = []string{"MJPG"}, [2]int64{}
	b := withEncoder(rawCamera("YUYV", colours(64, 48)), full)
	b.PlugEncoder("/dev/video11", video)
	cam, err := openNode(b, fakePath, smallSize)
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	picture, err := captureOne(cam)
	if err != nil || cam.Info().Encoder != "bcm2835-codec /dev/video11" {
		t.Fatalf("%s encodes, error %v", cam.Info().Encoder, err)
	}
	colours(64, 48).Check(t, picture)
}

func TestBoardEncoderAllocs(t *testing.T) {
	k, e := rawCamera("YUYV", colours(64, 48)), v4l2test.NewEncoder(nil)
	jpeg := encodeRaw(v4l2test.RawPicture{PixelFormat: "YUYV", Width: 64, Height: 48, Planes: [][]byte{colours(64, 48).Draw("YUYV", 128)}, Quality: 80})
	e.JPEG = func(v4l2test.RawPicture) []byte { return jpeg }
	k.Interval = 0
	cam, err := openNode(withEncoder(k, e), fakePath, smallSize)
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	buf, _, err := cam.Capture(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Quiet = true
	allocs := testing.AllocsPerRun(100, func() {
		k.Calls = k.Calls[:0]
		if buf, _, err = cam.Capture(t.Context(), buf[:0]); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per picture, want none", allocs)
	}
}

// Pictures of the board's encoder are turned by an Exif orientation, which takes the place of what
// the encoder writes there: a thumbnail ends as a JPEG does. Those of ours are turned themselves.
func TestBoardEncoderTurned(t *testing.T) {
	withThumbnail := func(p v4l2test.RawPicture) []byte {
		thumbnail := append([]byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x00"), encodeRaw(p)...)
		return mjpegtest.InsertAfterSOI(encodeRaw(p), mjpegtest.Segment(0xe1, thumbnail))
	}
	for _, turned := range []turn{{}, {rotate: 90}} {
		e := v4l2test.NewEncoder(withThumbnail)
		b := withEncoder(rawCamera("YUYV", colours(64, 48)), e)
		want := smallSize
		want.turn = turned
		cam, err := openNode(b, fakePath, want)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := captureOne(cam)
		if err != nil {
			t.Fatal(err)
		}
		colours(64, 48).Check(t, picture) // image/jpeg does not know Exif
		plain, _ := (&mjpeg.Repairer{Orientation: turned.orientation()}).Append(nil, encodeRaw(v4l2test.RawPicture{
			PixelFormat: "YUYV", Width: 64, Height: 48, Planes: [][]byte{colours(64, 48).Draw("YUYV", 128)}, Quality: 80,
		}))
		if !bytes.Equal(picture, plain) {
			t.Errorf("%v: got %d bytes, want %d: a JPEG with the orientation and no thumbnail", turned, len(picture), len(plain))
		}
		e.SetAnswer(func(int, []byte) ([]byte, uint32, bool) { return nil, uapi.V4L2_BUF_FLAG_ERROR, true })
		picture, err = captureOne(cam)
		if err != nil {
			t.Fatal(err)
		}
		m, err := jpeg.DecodeConfig(bytes.NewReader(picture))
		if width, height := turned.size(64, 48); err != nil || m.Width != width || m.Height != height {
			t.Errorf("%v: ours makes %dx%d, error %v", turned, m.Width, m.Height, err)
		}
		if width, height := turned.size(64, 48); cam.Info().Width != width || cam.Info().Height != height {
			t.Errorf("%v: it is %v", turned, cam.Info())
		}
		cam.Close()
	}
}

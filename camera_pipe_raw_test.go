//go:build linux && (arm || arm64)

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porthole/mjpeg"
	"porthole/testdata/rpicam/card"
	"porthole/v4l2/v4l2test"
)

// withRaw returns a board with the stand-in for rpicam-vid and an encoder.
func withRaw(t *testing.T, e *v4l2test.Encoder) *pi {
	t.Helper()
	p := realistic(t, "rpicam-vid", "imx219")
	p.kernel.(*v4l2test.Board).PlugEncoder(encoderPath, e)
	t.Cleanup(func() { e.CheckReleased(t) })
	return p
}

// raw returns settings for a size.
func raw(width, height int) settings {
	return settings{camera: "pi", width: width, height: height, fps: 10, quality: 80}
}

// wantCard takes a picture and checks that it is the whole test card.
func wantCard(t *testing.T, c *rpicamCamera) {
	t.Helper()
	picture, _, err := c.Capture(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := window(t, picture); !got.Near(card.Whole, 0.02) {
		t.Errorf("it shows %+v, want the whole card", got)
	}
}

func TestRpicamRaw(t *testing.T) {
	for _, test := range []struct {
		width, height int
		format        string // that the encoder takes
		want          string
	}{
		{640, 480, "YU12", "640x480 YU12"},
		{640, 480, "YM12", "640x480 YM12"},
		{480, 360, "YU12", "512x360 YU12"}, // U begins at line 368
	} {
		t.Run(fmt.Sprintf("%dx%d %s", test.width, test.height, test.format), func(t *testing.T) {
			e := v4l2test.NewEncoder(encodeRaw)
			e.Raw = []string{test.format}
			c := mustOpen(t, withRaw(t, e), raw(test.width, test.height))
			defer c.Close()
			for range 3 {
				picture, _, err := c.Capture(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				window(t, picture)
			}
			want := test.want + ", encoded by bcm2835-codec /dev/video31"
			if got := c.Info().String(); !strings.HasSuffix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// Our encoder takes over from the board's, with the picture that it had.
func TestRpicamRawTakeover(t *testing.T) {
	e := v4l2test.NewEncoder(encodeRaw)
	c := mustOpen(t, withRaw(t, e), raw(640, 480))
	defer c.Close()
	var logged []string
	c.setLog(func(line string) { logged = append(logged, line) })
	wantCard(t, c)
	logged = nil
	e.SetAnswer(func(int, []byte) ([]byte, uint32, bool) { return nil, 0, false })
	for range 3 {
		wantCard(t, c)
	}
	const want = "bcm2835-codec /dev/video31: it has stalled: porthole encodes the pictures now"
	if got := strings.Join(logged, "\n"); got != want || c.Info().Encoder != encoderOurs {
		t.Errorf("logged %s, and %s encodes; want %s", got, c.Info().Encoder, want)
	}
	eventually(t, "the encoder is closed behind it", func() bool { return e.IsReleased() })
}

// Without an encoder that can be used, the program makes JPEGs; or we do, if that is wanted.
func TestRpicamRawWithout(t *testing.T) {
	busy := v4l2test.NewEncoder(encodeRaw)
	c := mustOpen(t, withRaw(t, busy), raw(640, 480))
	c.Close()
	busy.Largest = 320
	c = mustOpen(t, withRaw(t, busy), raw(640, 480))
	wantCard(t, c)
	want := "bcm2835-codec /dev/video31: it takes no pictures of 640x480: rpicam-vid encodes the pictures"
	if got := strings.Join(c.remarks, "\n"); !strings.Contains(got, want) || c.Info().Encoder != "rpicam-vid" {
		t.Errorf("remarks %s, and %s encodes; want %s", got, c.Info().Encoder, want)
	}
	c.Close()
	own, wanted := withRaw(t, busy), raw(640, 480)
	wanted.encoder = encoderOwn
	slow := withRaw(t, busy)
	slow.simd = false
	for _, c := range []*rpicamCamera{mustOpen(t, own, wanted), mustOpen(t, slow, raw(640, 480))} {
		wantCard(t, c)
		if c.Info().Encoder != encoderOurs || c.Info().Format != "YU12" {
			t.Errorf("%s encodes %s", c.Info().Encoder, c.Info().Format)
		}
		c.Close()
	}
}

// One torn picture costs that one. Pictures that are too long are the program's last raw ones.
func TestRpicamRawTorn(t *testing.T) {
	t.Setenv("RPICAM_FAIL", "torn 1")
	e := v4l2test.NewEncoder(encodeRaw)
	c := mustOpen(t, withRaw(t, e), raw(640, 480))
	wantCard(t, c)
	if _, _, err := c.Capture(t.Context(), nil); !errors.Is(err, mjpeg.ErrDamaged) {
		t.Errorf("a torn picture: got error %v", err)
	}
	wantCard(t, c)
	c.Close()

	t.Setenv("RPICAM_FAIL", "padded")
	p := withRaw(t, e)
	c = mustOpen(t, p, raw(640, 480))
	var err error
	for range 20 {
		if _, _, err = c.Capture(t.Context(), nil); err != nil && !errors.Is(err, mjpeg.ErrDamaged) {
			break
		}
	}
	if want := "rpicam-vid: its raw pictures do not have the length of their size"; fmt.Sprint(err) != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	c.Close()
	t.Setenv("RPICAM_FAIL", "")
	c = mustOpen(t, p, raw(640, 480))
	defer c.Close()
	wantCard(t, c)
	if got := c.Info().Encoder; got != "rpicam-vid" {
		t.Errorf("%s encodes, want rpicam-vid", got)
	}
}

// A timedReader gives parts of pictures, with pauses between.
type timedReader struct {
	parts []timedPart
}

type timedPart struct {
	after time.Duration
	data  string
}

func (r *timedReader) Read(b []byte) (int, error) {
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	part := &r.parts[0]
	time.Sleep(part.after)
	part.after = 0
	n := copy(b, part.data)
	if part.data = part.data[n:]; part.data == "" {
		r.parts = r.parts[1:]
	}
	return n, nil
}

// A pause inside a picture ends it.
func TestRawPictures(t *testing.T) {
	whole := strings.Repeat("y", 256) + strings.Repeat("u", 64) + strings.Repeat("v", 64)
	const short, long = time.Millisecond, 40 * time.Millisecond
	for name, test := range map[string]struct {
		parts []timedPart
		want  string // w: whole, d: damaged
	}{
		"whole":            {[]timedPart{{0, whole}, {long, whole}}, "ww"},
		"in pieces":        {[]timedPart{{0, whole[:100]}, {short, whole[100:300]}, {short, whole[300:]}, {long, whole}}, "ww"},
		"without a pause":  {[]timedPart{{0, whole + whole + whole}}, "www"},
		"torn":             {[]timedPart{{0, whole[:100]}, {long, whole}, {long, whole}}, "dww"},
		"torn in U":        {[]timedPart{{0, whole[:300]}, {long, whole}, {long, whole}}, "dww"},
		"torn, in pieces":  {[]timedPart{{0, whole[:300]}, {long, whole[:20]}, {short, whole[20:]}}, "dw"},
		"too long":         {[]timedPart{{0, whole + "more"}, {long, whole}, {long, whole}}, "wdww"},
		"begins in middle": {[]timedPart{{0, whole[200:]}, {long, whole}, {long, whole[:10]}}, "dw"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				format := mjpeg.RawFormat{PixelFormat: "YU12", Width: 16, Height: 16}
				memory := make([]byte, len(whole))
				p := &rawPictures{encoder: &encoder{memory: [][]byte{memory}}, format: format, pause: 16 * time.Millisecond}
				if err := p.lay(); err != nil {
					t.Fatal(err)
				}
				got := ""
				for r := (&timedReader{test.parts}); ; {
					found, err := p.next()
					switch {
					case found && string(memory) == whole:
						got += "w"
					case found:
						got += "x"
					case errors.Is(err, mjpeg.ErrDamaged):
						got += "d"
					case p.fill(r) == io.EOF:
						if got != test.want {
							t.Errorf("got %s, want %s", got, test.want)
						}
						return
					}
				}
			})
		})
	}
}

// An endlessReader gives pictures without end, and without waiting.
type endlessReader struct{}

func (endlessReader) Read(b []byte) (int, error) { return len(b), nil }

func TestRawPicturesAllocs(t *testing.T) {
	e := v4l2test.NewEncoder(nil)
	b := withEncoder(v4l2test.NewCamera(), e)
	raw := mjpeg.RawFormat{PixelFormat: "YU12", Width: 64, Height: 48}
	jpeg := encodeRaw(v4l2test.RawPicture{PixelFormat: "YU12", Width: 64, Height: 48, Planes: [][]byte{make([]byte, 64*48*3/2)}, Quality: 80})
	e.JPEG = func(v4l2test.RawPicture) []byte { return jpeg }
	board, err := openBoardEncoder(b, boardEncoders(b, settings{}), raw, 80, 30)
	if err != nil {
		t.Fatal(err)
	}
	p := &rawPictures{encoder: &encoder{board: board, memory: board.device.Planes()}, format: board.raw, pause: time.Hour}
	defer p.close()
	if err := p.lay(); err != nil {
		t.Fatal(err)
	}
	e.Quiet = true
	var dst []byte
	allocs := testing.AllocsPerRun(100, func() {
		for {
			found, err := p.next()
			if found {
				dst, err = p.appendJPEG(dst[:0])
			} else if err == nil {
				err = p.fill(endlessReader{})
			}
			if err != nil {
				t.Fatal(err)
			}
			if found {
				return
			}
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations per picture, want none", allocs)
	}
}

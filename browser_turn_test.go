//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"porthole/mjpeg/mjpegtest"
	"porthole/v4l2/v4l2test"
)

func init() {
	pageTests = append(pageTests, pageTest{"turned by Exif", func(t *testing.T, b *browser) { testTurned(t, b, "MJPG") }},
		pageTest{"turned by the encoder", func(t *testing.T, b *browser) { testTurned(t, b, "YUYV") }})
}

// corners are the colours of a picture whose quarters have one each: top left, top right, bottom
// left, bottom right.
type corners [4]color.YCbCr

var (
	red   = color.YCbCr{Y: 76, Cb: 85, Cr: 255}
	green = color.YCbCr{Y: 150, Cb: 44, Cr: 21}
	blue  = color.YCbCr{Y: 29, Cb: 255, Cr: 107}
	white = color.YCbCr{Y: 255, Cb: 128, Cr: 128}
)

// cornered returns a camera whose pictures have four colours, as JPEGs or raw.
func cornered(t *testing.T, format string, c corners) *v4l2test.Camera {
	k := v4l2test.NewCamera()
	k.Formats, k.Endless, k.Interval, k.BufferSize = []string{format}, true, 30*time.Millisecond, 320*240*2
	scene := mjpegtest.Scene{Width: 320, Height: 240, Color: func(x, y int) color.YCbCr { return c[y/120*2+x/160] }}
	if format == "YUYV" {
		k.Show(scene.Draw(format, 640))
		return k
	}
	m := image.NewRGBA(image.Rect(0, 0, 320, 240))
	for i := range 320 * 240 {
		m.Set(i%320, i/320, scene.Color(i%320, i/320))
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	k.Show(b.Bytes())
	return k
}

// testTurned has all turns seen, in the page and in an <img> without it.
func testTurned(t *testing.T, b *browser, format string) {
	h := thisHost
	h.drivers = withoutDevices(v4l2Driver(v4l2test.NewBoard(map[string]*v4l2test.Camera{
		"/dev/video0": cornered(t, format, corners{red, green, blue, white}),
	})))
	p := beginOn(t, h, "-listen", "127.0.0.1:0", "-camera", "v4l2", "-size", "320x240")
	front := inFront(t, p, func(proxy http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", proxy)
		mux.HandleFunc("/both", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `<!DOCTYPE html><style>* { position: absolute; border: 0; width: 450px; height: 500px }</style><link rel="icon" href="data:,">
				<iframe src="./" style="left: 0"></iframe><img id="image" src="stream" style="left: 500px; object-fit: contain">`)
		})
		return mux
	})
	b.open(t, front+"both")
	b.await(t, "there is a picture", "frames[0].document.getElementById('size')?.textContent")
	for _, test := range []struct {
		turn turn
		want corners
	}{
		{turn{0, ""}, corners{red, green, blue, white}},
		{turn{0, "h"}, corners{green, red, white, blue}},
		{turn{180, ""}, corners{white, blue, green, red}},
		{turn{180, "h"}, corners{blue, white, red, green}},
		{turn{270, "h"}, corners{red, blue, green, white}},
		{turn{90, ""}, corners{blue, red, white, green}},
		{turn{90, "h"}, corners{white, green, blue, red}},
		{turn{270, ""}, corners{green, white, red, blue}},
	} {
		body := url.Values{"rotate": {fmt.Sprint(test.turn.rotate)}, "flip": {test.turn.flip}}
		response, err := http.PostForm(p.url+"/settings", body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%v: %v", test.turn, err)
		}
		response.Body.Close()
		b.awaitCorners(t, test.turn, test.want)
	}
	checkQuiet(t, b)
}

// awaitCorners waits until both pictures have corners, as large as they can be.
func (b *browser) awaitCorners(t *testing.T, turned turn, want corners) {
	t.Helper()
	width, height := turned.size(320, 240)
	var box struct{ X, Y, Width, Height float64 }
	var seen [2]string
	for end := time.Now().Add(limit); time.Now().Before(end); {
		b.eval(t, &box, "return frames[0].document.getElementById('stage').getBoundingClientRect().toJSON()")
		window := b.photograph(t)
		stage := image.Rect(int(box.X), int(box.Y), int(box.X+box.Width), int(box.Y+box.Height))
		good := true
		for i, area := range []image.Rectangle{stage, image.Rect(500, 0, 950, 500)} {
			var all bool
			seen[i], all = compareCorners(window, contain(area, width, height), want)
			good = good && all
		}
		if good {
			return
		}
	}
	t.Errorf("%v: after %v, the corners of the page's picture are %s, those of the image %s; want %v", turned, limit, seen[0], seen[1], want)
}

// compareCorners compares the colours near the corners of an area.
func compareCorners(window image.Image, area image.Rectangle, want corners) (seen string, same bool) {
	in := image.Pt(area.Dx()/20, area.Dy()/20)
	low, high := area.Min.Add(in), area.Max.Sub(in)
	same = true
	for i, at := range []image.Point{low, {high.X, low.Y}, {low.X, high.Y}, high} {
		r, g, b, _ := window.At(at.X, at.Y).RGBA()
		wr, wg, wb, _ := want[i].RGBA()
		near := func(a, b uint32) bool { return mjpegtest.Distance(uint8(a>>8), uint8(b>>8)) < 60 }
		same = same && near(r, wr) && near(g, wg) && near(b, wb)
		seen += fmt.Sprintf(" %02x%02x%02x", r>>8, g>>8, b>>8)
	}
	return seen, same
}

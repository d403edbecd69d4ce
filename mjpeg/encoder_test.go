package mjpeg

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"porthole/mjpeg/mjpegtest"
	"porthole/testdata/skip"
)

// A rawPicture is one as a driver hands it over, with rows that have some bytes
// more than pixels.
type rawPicture struct {
	format                string
	width, height, stride int
	data                  []byte
}

// newRawPicture returns a picture that shows sample(x, y, n) at column x and
// row y of component n, where a row of chrominance has one for two pixels.
func newRawPicture(format string, width, height int, sample func(x, y, n int) uint8) rawPicture {
	stride := mjpegtest.Stride(format, width) + 6
	r := rawPicture{format, width, height, stride, make([]byte, mjpegtest.Length(format, stride, height))}
	f := findPixelFormat(format)
	if f.rgb() {
		shown := mjpegtest.Scene{Width: width, Height: height, Color: func(x, y int) color.YCbCr {
			return color.YCbCr{Y: sample(x, y, 0), Cb: sample(x/2, y/2, 1), Cr: sample(x/2, y/2, 2)}
		}}
		r.data = shown.Draw(format, stride)
		return r
	}
	start, components := r.layout()
	for n, s := range components {
		for y := range s.height {
			for x := range s.width {
				r.data[start[s.plane]+s.offset+y*s.stride+x*s.step] = sample(x, y, n)
			}
		}
	}
	return r
}

// planes returns the planes of memory.
func (r rawPicture) planes() [][]byte {
	return mjpegtest.Planes(r.format, r.data, r.stride, r.height)
}

// layout returns where the planes begin in data, and where the components are in them.
func (r rawPicture) layout() (start [3]int, components []samples) {
	f := findPixelFormat(r.format)
	planes, components := f.layout(r.width, r.height, f.strides(r.width, mjpegtest.Strides(r.format, r.stride)))
	at := 0
	for i, p := range planes {
		start[i] = at
		at += p.stride * p.height
	}
	return start, components
}

// image returns the picture the way image/jpeg encodes it.
func (r rawPicture) image() image.Image {
	f := findPixelFormat(r.format)
	start, components := r.layout()
	gray := image.NewGray(image.Rect(0, 0, r.width, r.height))
	ycc := image.NewYCbCr(gray.Rect, image.YCbCrSubsampleRatio420)
	samples := [][]uint8{ycc.Y, ycc.Cb, ycc.Cr}
	if f.grey() {
		samples[0] = gray.Pix
	}
	for n, s := range components {
		for i := range s.width * s.height {
			x, y := i%s.width, i/s.width
			if f.rgb() {
				samples[n][i] = r.sampleOfRGB(f, x, y, n)
			} else {
				samples[n][i] = r.data[start[s.plane]+s.offset+y*s.stride+x*s.step]
			}
		}
	}
	if f.grey() {
		return gray
	}
	return ycc
}

func newTestEncoder(t testing.TB, r rawPicture, quality int, limited bool) *Encoder {
	t.Helper()
	e, err := NewEncoder(RawFormat{PixelFormat: r.format, Width: r.width, Height: r.height, Strides: mjpegtest.Strides(r.format, r.stride), LimitedRange: limited}, quality)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// encode encodes the picture on some cores.
func (r rawPicture) encode(t testing.TB, quality, cores int) []byte {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	got, err := newTestEncoder(t, r, quality, false).Append(nil, r.planes()...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// standard has image/jpeg encode m.
func standard(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// samplesOf returns the samples of a picture, component by component, without
// what pads it.
func samplesOf(m image.Image) [][]uint8 {
	size := m.Bounds().Size()
	crop := func(pix []uint8, stride, width, height int) []uint8 {
		var all []uint8
		for y := range height {
			all = append(all, pix[y*stride:][:width]...)
		}
		return all
	}
	if m, ok := m.(*image.Gray); ok {
		return [][]uint8{crop(m.Pix, m.Stride, size.X, size.Y)}
	}
	c := m.(*image.YCbCr)
	w, h := (size.X+1)/2, (size.Y+1)/2
	return [][]uint8{crop(c.Y, c.YStride, size.X, size.Y), crop(c.Cb, c.CStride, w, h), crop(c.Cr, c.CStride, w, h)}
}

// decoded returns the samples of a JPEG.
func decoded(t testing.TB, picture []byte) [][]uint8 {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	return samplesOf(m)
}

// difference returns the mean square of the differences of samples, and the
// largest one.
func difference(t testing.TB, a, b []uint8) (square float64, most int) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("got %d samples, want %d", len(a), len(b))
	}
	for i := range a {
		d := mjpegtest.Distance(a[i], b[i])
		square += float64(d * d)
		most = max(most, d)
	}
	return square / float64(len(a)), most
}

// testPictures are pictures of which a part is easy or as hard as can be.
func testPictures(t testing.TB) map[string]func(x, y, n int) uint8 {
	t.Helper()
	f, err := os.Open("../testdata/page.jpg")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := jpeg.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	page := m.(*image.YCbCr)
	return map[string]func(x, y, n int) uint8{
		"black":       func(x, y, n int) uint8 { return 0 },
		"white":       func(x, y, n int) uint8 { return 255 },
		"board":       func(x, y, n int) uint8 { return uint8(255 * ((x + y) & 1)) },
		"large board": func(x, y, n int) uint8 { return uint8(255 * ((x/8 + y/8) & 1)) },
		"stripes":     func(x, y, n int) uint8 { return uint8(16 + 219*(x/3&1)) },
		"noise": func(x, y, n int) uint8 {
			return uint8(rand.New(rand.NewPCG(uint64(n), uint64(1000*y+x))).Uint32())
		},
		"page": func(x, y, n int) uint8 {
			if n == 0 {
				return page.Y[y*page.YStride+x]
			}
			return [][]uint8{page.Cb, page.Cr}[n-1][y*page.CStride+x]
		},
	}
}

// Pictures are as good as those of image/jpeg and as small: at most 0.3 dB
// worse, at most 1.05 times the bytes. A quarter is added to what is compared,
// for nobody sees what is less.
func TestEncodeQuality(t *testing.T) {
	for name, sample := range testPictures(t) {
		for _, format := range []string{"YUYV", "NV12", "GREY"} {
			r := newRawPicture(format, 122, 89, sample)
			source := samplesOf(r.image())
			for _, quality := range []int{1, 10, 30, 50, 80, 95, 100} {
				ours, theirs := r.encode(t, quality, 1), standard(t, r.image(), quality)
				if got, limit := len(ours), len(theirs)*105/100+8; got > limit {
					t.Errorf("%s, %s, quality %d: %d bytes, want at most %d", name, format, quality, got, limit)
				}
				we, they := decoded(t, ours), decoded(t, theirs)
				for n := range source {
					got, most := difference(t, we[n], source[n])
					want, _ := difference(t, they[n], source[n])
					if loss := 10 * math.Log10((got+0.25)/(want+0.25)); loss > 0.3 {
						t.Errorf("%s, %s, quality %d, component %d: %.2f dB worse", name, format, quality, n, loss)
					}
					if quality == 100 && most > 3 {
						t.Errorf("%s, %s, quality 100, component %d: a sample is off by %d", name, format, n, most)
					}
				}
			}
		}
	}
}

// Strips show what the picture in one piece does.
func TestEncodeStrips(t *testing.T) {
	sample := testPictures(t)["page"]
	for _, format := range rawFormats {
		for _, height := range []int{1, 8, 16, 17, 100, 639} {
			r := newRawPicture(format, 54, height, sample)
			whole := r.encode(t, 80, 1)
			if bytes.Contains(whole, []byte{0xff, markerDRI, 0, 4}) {
				t.Errorf("%s, 1 core: there are restarts", format)
			}
			want := decoded(t, whole)
			for _, cores := range []int{2, 3, 16} {
				got := r.encode(t, 80, cores)
				if !slices.EqualFunc(decoded(t, got), want, bytes.Equal) {
					t.Errorf("%s, height %d, %d cores: not the picture of one core", format, height, cores)
				}
				checkRestarts(t, got)
			}
		}
	}
}

// checkRestarts checks that each restart marker is the one that is due.
func checkRestarts(t *testing.T, picture []byte) {
	t.Helper()
	scan := bytes.Index(picture, []byte{0xff, markerSOS})
	due := byte(0)
	for i := scan + 2; i+1 < len(picture); i++ {
		if m := picture[i+1]; picture[i] == 0xff && m&^7 == markerRST {
			if m != markerRST+due {
				t.Fatalf("got restart %d, want %d", m-markerRST, due)
			}
			due = (due + 1) % 8
		}
	}
	restarts := bytes.Contains(picture[:scan], []byte{0xff, markerDRI, 0, 4})
	if !restarts && due != 0 {
		t.Error("the header says nothing of restarts")
	}
}

// A header has 16 bits for the length of a strip.
func TestCutStrips(t *testing.T) {
	for _, size := range []struct{ columns, rows int }{{1, 1}, {40, 23}, {8192, 8192}, {4096, 4096}} {
		for cores := 1; cores <= 64; cores *= 2 {
			e := &Encoder{columns: size.columns, rows: size.rows}
			e.cutStrips(cores)
			row := 0
			for i, s := range e.strips {
				if s.first != row || s.end <= s.first || i > 0 && s.end-s.first > e.strips[0].end {
					t.Fatalf("%v, %d cores: strip %d has rows %d to %d after %d", size, cores, i, s.first, s.end, row)
				}
				row = s.end
			}
			if row != size.rows {
				t.Errorf("%v, %d cores: strips end at row %d", size, cores, row)
			}
			if n := e.strips[0].end * size.columns; len(e.strips) > 1 && n >= 1<<16 {
				t.Errorf("%v, %d cores: strips of %d MCUs", size, cores, n)
			}
			if len(e.strips) < min(cores, size.rows) || cores == 1 && len(e.strips) != 1 {
				t.Errorf("%v, %d cores: %d strips", size, cores, len(e.strips))
			}
		}
	}
}

func TestEncodeAllocs(t *testing.T) {
	page := testPictures(t)["page"]
	for _, cores := range []int{1, 4} {
		for _, format := range rawFormats {
			r := newRawPicture(format, 320, 240, page)
			previous := runtime.GOMAXPROCS(cores)
			e := newTestEncoder(t, r, 80, false)
			runtime.GOMAXPROCS(previous)
			dst := make([]byte, 0, len(r.data))
			planes := r.planes()
			if got := testing.AllocsPerRun(20, func() { e.Append(dst, planes...) }); got != 0 {
				t.Errorf("%s, %d cores: %v allocations per picture, want none", format, cores, got)
			}
		}
	}
}

func TestMain(m *testing.M) { os.Exit(skip.Main(m)) }

// needs skips a test that needs a program which is not installed.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		skip.Test(t, program+" is not installed", "install it: libjpeg-turbo-progs, ffmpeg on Debian")
	}
}

// Other decoders see what image/jpeg does, give or take what they round, and
// have nothing to complain of.
func TestEncodeDecoders(t *testing.T) {
	decoders := map[string][]string{
		"djpeg":  {"-dct", "int", "-grayscale", "-pnm"}, // a header, then luminance
		"ffmpeg": {"-v", "warning", "-i", "-", "-f", "rawvideo", "-"},
	}
	for name, args := range decoders {
		t.Run(name, func(t *testing.T) {
			needs(t, name)
			for _, format := range rawFormats {
				r := newRawPicture(format, 300, 203, testPictures(t)["page"])
				for _, cores := range []int{1, 4} {
					picture := r.encode(t, 80, cores)
					want := bytes.Join(decoded(t, picture), nil)
					cmd := exec.Command(name, args...)
					cmd.Stdin = bytes.NewReader(picture)
					var complaints bytes.Buffer
					cmd.Stderr = &complaints
					got, err := cmd.Output()
					if err != nil || complaints.Len() > 0 {
						t.Fatalf("%s, %d cores: error %v: %s", format, cores, err, &complaints)
					}
					if name == "djpeg" {
						got = bytes.TrimPrefix(got, []byte("P5\n300 203\n255\n"))
						want = want[:len(got)]
					}
					if _, most := difference(t, got, want); most > 3 {
						t.Errorf("%s, %d cores: a sample is off by %d", format, cores, most)
					}
				}
			}
		})
	}
}

// Whatever is in a picture of whatever size, a JPEG of that size comes out.
func FuzzEncode(f *testing.F) {
	f.Add(uint8(0), uint8(64), uint8(48), uint8(0), uint8(80), []byte("raw"))
	f.Add(uint8(2), uint8(33), uint8(17), uint8(5), uint8(100), []byte{0, 255})
	f.Add(uint8(4), uint8(1), uint8(1), uint8(1), uint8(1), []byte{255})
	f.Fuzz(func(t *testing.T, format, width, height, more, quality uint8, content []byte) {
		if len(content) == 0 {
			content = []byte{0}
		}
		r := rawPicture{format: rawFormats[int(format)%len(rawFormats)], width: int(width), height: int(height)}
		r.stride = mjpegtest.Stride(r.format, r.width) + int(more)
		r.data = bytes.Repeat(content, mjpegtest.Length(r.format, r.stride, r.height)/len(content)+1)
		r.data = r.data[:mjpegtest.Length(r.format, r.stride, r.height)]
		if r.format != "GREY" {
			r.width &^= 1
		}
		if r.width == 0 || r.height == 0 {
			return // TestEncoderSize
		}
		picture := r.encode(t, int(quality), 1)
		config, err := jpeg.DecodeConfig(bytes.NewReader(picture))
		if err != nil || config.Width != r.width || config.Height != r.height {
			t.Fatalf("got %dx%d, error %v; want %dx%d", config.Width, config.Height, err, r.width, r.height)
		}
		want := decoded(t, picture)
		if got := decoded(t, r.encode(t, int(quality), 3)); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Error("strips show another picture")
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, format := range rawFormats {
		r := newRawPicture(format, 640, 480, testPictures(b)["page"])
		b.Run(format, func(b *testing.B) {
			e, planes := newTestEncoder(b, r, 80, false), r.planes()
			dst := make([]byte, 0, len(r.data))
			b.ReportAllocs()
			b.SetBytes(int64(len(r.data)))
			for b.Loop() {
				e.Append(dst, planes...)
			}
		})
		b.Run(format+" image/jpeg", func(b *testing.B) { // which has no need to unpack
			m, options := r.image(), &jpeg.Options{Quality: 80}
			var out bytes.Buffer
			b.SetBytes(int64(len(r.data)))
			for b.Loop() {
				out.Reset()
				jpeg.Encode(&out, m, options)
			}
		})
	}
}

// BenchmarkEncodeCores measures how many times as fast all cores encode a picture as
// one of them does. Both do it by turns, so that other work here slows down both.
func BenchmarkEncodeCores(b *testing.B) {
	r := newRawPicture("YUYV", 640, 480, testPictures(b)["page"])
	cores := runtime.GOMAXPROCS(1)
	one := newTestEncoder(b, r, 80, false)
	runtime.GOMAXPROCS(cores)
	all := newTestEncoder(b, r, 80, false)
	dst := make([]byte, 0, len(r.data))
	var times []float64
	for b.Loop() {
		start := time.Now()
		one.Append(dst, r.data)
		middle := time.Now()
		all.Append(dst, r.data)
		times = append(times, float64(middle.Sub(start))/float64(time.Since(middle)))
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2], "times")
}

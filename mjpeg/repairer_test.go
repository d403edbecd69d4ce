package mjpeg

import (
	"bytes"
	"errors"
	"image/jpeg"
	"os"
	"porthole/mjpeg/mjpegtest"
	"reflect"
	"testing"
)

// onePicture is a picture of the emulated camera.
var onePicture = func() []byte {
	b, err := os.ReadFile("../static/1.jpg")
	if err != nil {
		panic(err)
	}
	return b
}()

func TestHuffmanTables(t *testing.T) {
	picture := mjpegtest.SmallJPEG(t)
	start := bytes.Index(picture, []byte{0xff, markerDHT})
	end := bytes.Index(picture, []byte{0xff, markerSOS})
	if got := picture[start:end]; !bytes.Equal(got, huffmanTables) {
		t.Errorf("the standard library writes\n%x\nwe have\n%x", got, huffmanTables)
	}
}

func TestRepairer(t *testing.T) {
	whole := mjpegtest.SmallJPEG(t)
	cut := whole[:len(whole)-10]
	bare := bytes.Replace(whole, huffmanTables, nil, 1)
	scan := bytes.Index(whole, []byte{0xff, markerSOS})
	thumbnail := mjpegtest.Segment(0xe1, whole) // APP1, with an end of its own

	tests := []struct {
		name    string
		picture []byte
		want    []byte // nil: ErrDamaged
	}{
		{"good", whole, whole},
		{"one of ours", onePicture, onePicture},
		{"without tables", bare, whole},
		{"padded with zeros", append(bytes.Clone(whole), make([]byte, 1000)...), whole},
		{"padded with FF", append(bytes.Clone(whole), 0xff, 0xff, 0xff), whole},
		{"padded with garbage", append(bytes.Clone(whole), cut...), whole},
		{"without tables, padded", append(bytes.Clone(bare), make([]byte, 1000)...), whole},
		{"thumbnail", mjpegtest.InsertAfterSOI(whole, thumbnail), mjpegtest.InsertAfterSOI(whole, thumbnail)},
		{"fill bytes", mjpegtest.InsertAfterSOI(whole, []byte{0xff, 0xff, 0xff}), mjpegtest.InsertAfterSOI(whole, []byte{0xff, 0xff, 0xff})},
		{"fill bytes, without tables", mjpegtest.InsertAfterSOI(bare, []byte{0xff}), mjpegtest.InsertAfterSOI(whole, []byte{0xff})},

		{"empty", nil, nil},
		{"zeros", make([]byte, 1000), nil},
		{"no SOI", whole[2:], nil},
		{"another marker for SOI", append([]byte{0xff, 0xe1}, whole[2:]...), nil},
		{"only SOI", whole[:2], nil},
		{"SOI and EOI", []byte{0xff, markerSOI, 0xff, markerEOI}, nil},
		{"no scan", append(bytes.Clone(whole[:scan]), 0xff, markerEOI), nil},
		{"truncated", cut, nil},
		{"truncated, padded with zeros", append(bytes.Clone(cut), make([]byte, 1000)...), nil},
		{"truncated, with a thumbnail", mjpegtest.InsertAfterSOI(cut, thumbnail), nil},
		{"segment of length 0", mjpegtest.InsertAfterSOI(whole, []byte{0xff, 0xe1, 0, 0}), nil},
		{"segment past the end", mjpegtest.InsertAfterSOI(whole, []byte{0xff, 0xe1, 0xff, 0xff}), nil},
		{"bytes between segments", mjpegtest.InsertAfterSOI(whole, []byte{1, 2, 3, 4}), whole},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dst := []byte("before")
			got, err := new(Repairer).Append(dst, test.picture)
			if test.want == nil {
				if !errors.Is(err, ErrDamaged) || !bytes.Equal(got, dst) {
					t.Errorf("got %d bytes more, error %v; want none, ErrDamaged", len(got)-len(dst), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := append(dst, test.want...); !bytes.Equal(got, want) {
				t.Errorf("got  %d bytes: %x\nwant %d bytes: %x", len(got), got, len(want), want)
			}
			if _, err := jpeg.Decode(bytes.NewReader(got[len(dst):])); err != nil {
				t.Errorf("the result does not decode: %v", err)
			}
		})
	}
}

// A picture that was cut short anywhere is damaged, with tables or without. Only its end may
// be missing.
func TestRepairerCut(t *testing.T) {
	whole := mjpegtest.SmallJPEG(t)
	for _, picture := range [][]byte{whole, bytes.Replace(whole, huffmanTables, nil, 1)} {
		for n := range picture {
			got, err := new(Repairer).Append(nil, picture[:n])
			if n >= len(picture)-2 {
				if err != nil || !bytes.Equal(got, whole) {
					t.Errorf("%d of %d bytes: got %d bytes, error %v; want the picture", n, len(picture), len(got), err)
				}
			} else if !errors.Is(err, ErrDamaged) || len(got) != 0 {
				t.Errorf("%d of %d bytes: got %d bytes, error %v; want none, ErrDamaged", n, len(picture), len(got), err)
			}
		}
	}
}

func TestRepairerAllocs(t *testing.T) {
	var r Repairer
	dst := make([]byte, 0, 64<<10)
	bare := bytes.Replace(mjpegtest.SmallJPEG(t), huffmanTables, nil, 1)
	for name, picture := range map[string][]byte{"good": onePicture, "without tables": bare, "damaged": onePicture[:20_000]} {
		if n := testing.AllocsPerRun(100, func() { r.Append(dst, picture) }); n != 0 {
			t.Errorf("%s: %v allocations per picture", name, n)
		}
	}
}

// BenchmarkRepairer goes through a picture of 28 KB by its structure, and counts its blocks.
func BenchmarkRepairer(b *testing.B) {
	dst := make([]byte, 0, 64<<10)
	for name, counts := range map[string]bool{"structure": false, "count": true} {
		b.Run(name, func(b *testing.B) {
			r := Repairer{started: true}
			b.SetBytes(int64(len(onePicture)))
			b.ReportAllocs()
			for b.Loop() {
				r.toCount, r.since = 0, 0
				if counts {
					r.Suspect()
				}
				if _, err := r.Append(dst, onePicture); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(onePicture)))
		for b.Loop() {
			dst = append(dst[:0], onePicture...)
		}
	})
}

// With fill bytes a JPEG is longer and the same picture.
func TestPad(t *testing.T) {
	whole := mjpegtest.SmallJPEG(t)
	want, err := jpeg.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	for more := range 4 {
		filled := Pad(bytes.Clone(whole), more)
		if len(filled) != len(whole)+more {
			t.Errorf("got %d bytes, want %d", len(filled), len(whole)+more)
		}
		if got, err := jpeg.Decode(bytes.NewReader(filled)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with %d bytes more: another picture, or error %v", more, err)
		}
		split := Splitter{buf: filled}
		if got, err := split.Next(); err != nil || !bytes.Equal(got, filled) {
			t.Errorf("with %d bytes more: the splitter finds %d bytes, error %v; want %d", more, len(got), err, len(filled))
		}
		if got, err := new(Repairer).Append(nil, filled); err != nil || !bytes.Equal(got, filled) {
			t.Errorf("with %d bytes more: got %d bytes, error %v; want %d", more, len(got), err, len(filled))
		}
	}
	for _, other := range []string{"", "\xff", "\xd9", "no JPEG"} {
		if got := Pad([]byte(other), 3); string(got) != other {
			t.Errorf("%q: got %q", other, got)
		}
	}
}

// Whatever comes, a Repairer does not panic, and what it makes is a JPEG that decodes if the
// picture did.
func FuzzRepairer(f *testing.F) {
	whole := mjpegtest.SmallJPEG(f)
	f.Add([]byte(nil))
	f.Add(whole)
	f.Add(bytes.Replace(whole, huffmanTables, nil, 1))
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add(mjpegtest.InsertAfterSOI(whole[:len(whole)-10], mjpegtest.Segment(0xe1, whole)))
	for _, name := range pictureNames(f, "") {
		f.Add(picture(f, name))
	}
	f.Fuzz(func(t *testing.T, picture []byte) {
		var r Repairer
		before := []byte("before")
		for _, counts := range []bool{true, false} {
			if !counts {
				r.toCount, r.since = 0, 0
			}
			got, err := r.Append(before, picture)
			if !bytes.HasPrefix(got, before) {
				t.Fatalf("got %q, want %q in front", got, before)
			}
			got = got[len(before):]
			if err != nil {
				if !errors.Is(err, ErrDamaged) || len(got) != 0 {
					t.Fatalf("got %d bytes, error %v; want none, ErrDamaged", len(got), err)
				}
				continue
			}
			if !bytes.HasPrefix(got, []byte{0xff, markerSOI}) || !bytes.HasSuffix(got, []byte{0xff, markerEOI}) {
				t.Fatalf("got % x, want something from FF D8 to FF D9", got)
			}
			if decodes(picture) && !decodes(got) {
				t.Fatalf("% x decodes, % x does not", picture, got)
			}
		}
		_, err := new(Repairer).Append(nil, picture)
		turning := Repairer{Orientation: 6}
		if got, turned := turning.Append(nil, picture); turned != err || err == nil && decodes(picture) && !decodes(got) {
			t.Fatalf("% x: error %v with an orientation, %v without; % x", picture, turned, err, got)
		}
	})
}

// decodes reports whether the standard library can decode picture. Large ones
// are not tried: they would only take time and memory.
func decodes(picture []byte) bool {
	config, err := jpeg.DecodeConfig(bytes.NewReader(picture))
	if err != nil || config.Width*config.Height > 1<<16 {
		return false
	}
	_, err = jpeg.Decode(bytes.NewReader(picture))
	return err == nil
}

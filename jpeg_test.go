package main

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"reflect"
	"testing"
)

// smallJPEG returns a colourful JPEG, with Huffman tables as the standard
// library writes them: the typical ones, right in front of the scan.
func smallJPEG(t testing.TB) []byte {
	t.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, 40, 24), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i * i)
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = byte(3*i), byte(200-2*i)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// segment returns a marker segment.
func segment(marker byte, content []byte) []byte {
	n := len(content) + 2
	return append([]byte{0xff, marker, byte(n >> 8), byte(n)}, content...)
}

// behindSOI returns picture with the parts put in behind its start.
func behindSOI(picture []byte, parts ...[]byte) []byte {
	return bytes.Join([][]byte{picture[:2], bytes.Join(parts, nil), picture[2:]}, nil)
}

func TestHuffmanTables(t *testing.T) {
	picture := smallJPEG(t)
	start := bytes.Index(picture, []byte{0xff, markerDHT})
	end := bytes.Index(picture, []byte{0xff, markerSOS})
	if got := picture[start:end]; !bytes.Equal(got, huffmanTables) {
		t.Errorf("the standard library writes\n%x\nwe have\n%x", got, huffmanTables)
	}
}

func TestAppendJPEG(t *testing.T) {
	whole := smallJPEG(t)
	cut := whole[:len(whole)-10]
	bare := bytes.Replace(whole, huffmanTables, nil, 1)
	scan := bytes.Index(whole, []byte{0xff, markerSOS})
	thumbnail := segment(0xe1, whole) // APP1, with an end of its own

	tests := []struct {
		name    string
		picture []byte
		want    []byte // nil: errDamaged
	}{
		{"good", whole, whole},
		{"one of ours", picture1, picture1},
		{"without tables", bare, whole},
		{"padded with zeros", append(bytes.Clone(whole), make([]byte, 1000)...), whole},
		{"padded with FF", append(bytes.Clone(whole), 0xff, 0xff, 0xff), whole},
		{"padded with garbage", append(bytes.Clone(whole), cut...), whole},
		{"without tables, padded", append(bytes.Clone(bare), make([]byte, 1000)...), whole},
		{"thumbnail", behindSOI(whole, thumbnail), behindSOI(whole, thumbnail)},
		{"fill bytes", behindSOI(whole, []byte{0xff, 0xff, 0xff}), behindSOI(whole, []byte{0xff, 0xff, 0xff})},
		{"fill bytes, without tables", behindSOI(bare, []byte{0xff}), behindSOI(whole, []byte{0xff})},

		{"empty", nil, nil},
		{"zeros", make([]byte, 1000), nil},
		{"no SOI", whole[2:], nil},
		{"another marker for SOI", append([]byte{0xff, 0xe1}, whole[2:]...), nil},
		{"only SOI", whole[:2], nil},
		{"SOI and EOI", []byte{0xff, markerSOI, 0xff, markerEOI}, nil},
		{"no scan", append(bytes.Clone(whole[:scan]), 0xff, markerEOI), nil},
		{"truncated", cut, nil},
		{"truncated, padded with zeros", append(bytes.Clone(cut), make([]byte, 1000)...), nil},
		{"truncated, with a thumbnail", behindSOI(cut, thumbnail), nil},
		{"segment of length 0", behindSOI(whole, []byte{0xff, 0xe1, 0, 0}), nil},
		{"segment past the end", behindSOI(whole, []byte{0xff, 0xe1, 0xff, 0xff}), nil},
		{"garbage for a marker", behindSOI(whole, []byte{1, 2, 3, 4}), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dst := []byte("before")
			got, err := appendJPEG(dst, test.picture)
			if test.want == nil {
				if !errors.Is(err, errDamaged) || !bytes.Equal(got, dst) {
					t.Errorf("got %d bytes more, error %v; want none, errDamaged", len(got)-len(dst), err)
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

// What was cut short anywhere is damaged, with tables or without.
func TestAppendJPEGCut(t *testing.T) {
	whole := smallJPEG(t)
	for _, picture := range [][]byte{whole, bytes.Replace(whole, huffmanTables, nil, 1)} {
		for n := range picture {
			got, err := appendJPEG(nil, picture[:n])
			if !errors.Is(err, errDamaged) || len(got) != 0 {
				t.Errorf("%d of %d bytes: got %d bytes, error %v; want none, errDamaged", n, len(picture), len(got), err)
			}
		}
	}
}

// With fill bytes a JPEG is longer and the same picture.
func TestFillJPEG(t *testing.T) {
	whole := smallJPEG(t)
	want, err := jpeg.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	for more := range 4 {
		filled := fillJPEG(bytes.Clone(whole), more)
		if len(filled) != len(whole)+more {
			t.Errorf("got %d bytes, want %d", len(filled), len(whole)+more)
		}
		if got, err := jpeg.Decode(bytes.NewReader(filled)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with %d bytes more: another picture, or error %v", more, err)
		}
		split := splitter{buf: filled}
		if got, err := split.next(); err != nil || !bytes.Equal(got, filled) {
			t.Errorf("with %d bytes more: the splitter finds %d bytes, error %v; want %d", more, len(got), err, len(filled))
		}
		if got, err := appendJPEG(nil, filled); err != nil || !bytes.Equal(got, filled) {
			t.Errorf("with %d bytes more: got %d bytes, error %v; want %d", more, len(got), err, len(filled))
		}
	}
	for _, other := range []string{"", "\xff", "\xd9", "no JPEG"} {
		if got := fillJPEG([]byte(other), 3); string(got) != other {
			t.Errorf("%q: got %q", other, got)
		}
	}
}

func FuzzAppendJPEG(f *testing.F) {
	whole := smallJPEG(f)
	f.Add([]byte(nil))
	f.Add(whole)
	f.Add(bytes.Replace(whole, huffmanTables, nil, 1))
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add(behindSOI(whole[:len(whole)-10], segment(0xe1, whole)))
	f.Fuzz(func(t *testing.T, picture []byte) {
		before := []byte("before")
		got, err := appendJPEG(before, picture)
		if !bytes.HasPrefix(got, before) {
			t.Fatalf("got %q, want %q in front", got, before)
		}
		got = got[len(before):]
		if err != nil {
			if !errors.Is(err, errDamaged) || len(got) != 0 {
				t.Fatalf("got %d bytes, error %v; want none, errDamaged", len(got), err)
			}
			return
		}
		if !bytes.HasPrefix(got, []byte{0xff, markerSOI}) || !bytes.HasSuffix(got, []byte{0xff, markerEOI}) {
			t.Fatalf("got % x, want something from FF D8 to FF D9", got)
		}
		if decodes(picture) && !decodes(got) {
			t.Fatalf("% x decodes, % x does not", picture, got)
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

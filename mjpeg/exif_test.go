package mjpeg

import (
	"bytes"
	"errors"
	"testing"

	"porthole/mjpeg/mjpegtest"
)

// withOrientation returns a JPEG with an Exif segment that has the orientation: its content is
// what exiftool and libexif read.
func withOrientation(picture []byte, orientation byte) []byte {
	return mjpegtest.InsertAfterSOI(picture, mjpegtest.Segment(0xe1, []byte{
		'E', 'x', 'i', 'f', 0, 0,
		'M', 'M', 0, 42, 0, 0, 0, 8,
		0, 1,
		0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0,
		0, 0, 0, 0,
	}))
}

// Pictures get the orientation, and keep nothing that contradicts it.
func TestRepairerOrientation(t *testing.T) {
	whole := mjpegtest.SmallJPEG(t)
	with := func(parts ...[]byte) []byte { return mjpegtest.InsertAfterSOI(whole, parts...) }
	jfif := mjpegtest.Segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"))
	exif := mjpegtest.Segment(0xe1, append([]byte("Exif\x00\x00II*\x00"), whole...)) // with a thumbnail
	oddExif := mjpegtest.Segment(0xe1, []byte("Exif\x00\xff"))
	xmp := mjpegtest.Segment(0xe1, []byte("http://ns.adobe.com/xap/1.0/\x00"))
	tests := []struct {
		name          string
		picture, want []byte // without orientation
	}{
		{"plain", whole, whole},
		{"without tables", bytes.Replace(whole, huffmanTables, nil, 1), whole},
		{"JFIF", with(jfif), with(jfif)},
		{"Exif", with(exif), whole},
		{"JFIF and Exif", with(jfif, exif), with(jfif)},
		{"Exif and JFIF", with(exif, jfif), with(jfif)},
		{"Exif twice", with(exif, jfif, oddExif), with(jfif)},
		{"XMP", with(exif, xmp), with(xmp)},
		{"its own orientation", withOrientation(whole, 8), whole},
		{"fill bytes", with([]byte{0xff}, exif), with([]byte{0xff})},
		{"garbage around it", append([]byte{1, 2, 3}, append(bytes.Clone(with(exif)), 4, 5, 6)...), whole},
		{"no end", with(exif)[:len(with(exif))-2], whole},
	}
	for _, test := range tests {
		for orientation := byte(1); orientation <= 8; orientation++ {
			want := test.want
			if orientation > 1 {
				want = withOrientation(want, orientation)
			}
			r := Repairer{Orientation: int(orientation)}
			got, err := r.Append([]byte("before"), test.picture)
			if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("%s, orientation %d: error %v, got\n%x\nwant\n%x", test.name, orientation, err, got, want)
			}
		}
	}
}

// Nothing else changes: the same pictures are damaged, in the same way.
func TestRepairerOrientationChecks(t *testing.T) {
	for _, name := range pictureNames(t, "") {
		bare, r := Repairer{Orientation: 1}, Repairer{Orientation: 6}
		plain, err := bare.Append(nil, picture(t, name))
		got, gotErr := r.Append([]byte("before"), picture(t, name))
		if gotErr != err {
			t.Errorf("%s: got error %v, want %v", name, gotErr, err)
		}
		if err == nil && !bytes.Equal(got, append([]byte("before"), withOrientation(plain, 6)...)) {
			t.Errorf("%s: not the picture and its orientation", name)
		}
		if err != nil && (!errors.Is(gotErr, ErrDamaged) || string(got) != "before") {
			t.Errorf("%s: got %d bytes, want none added", name, len(got))
		}
	}
}

func TestRepairerOrientationAllocs(t *testing.T) {
	r := Repairer{Orientation: 6}
	dst := make([]byte, 0, 64<<10)
	for name, picture := range map[string][]byte{"good": onePicture, "with an orientation": withOrientation(onePicture, 3), "damaged": onePicture[:20_000]} {
		if n := testing.AllocsPerRun(100, func() { r.Append(dst, picture) }); n != 0 {
			t.Errorf("%s: %v allocations per picture", name, n)
		}
	}
}

package mjpeg

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// picture returns a picture of testdata/pictures. They are as cameras send them, 160x120:
//
//	ok-...      odd at most
//	bad-...     damaged on the way
//	others      ok-baseline with something missing or too much
func picture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/pictures", name+".jpg"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pictureNames returns the names of the pictures that begin with prefix.
func pictureNames(t testing.TB, prefix string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("testdata/pictures/" + prefix + "*.jpg")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pictures %s: %v", prefix, err)
	}
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".jpg"))
	}
	return names
}

// repaired returns what a Repairer makes of a picture, which it counts or does not.
func repaired(b []byte, counts bool) ([]byte, error) {
	r := Repairer{started: true}
	if counts {
		r.Suspect()
	}
	return r.Append(nil, b)
}

// A picture that is odd at most stays as it is. Of others comes what is whole in them.
func TestPictures(t *testing.T) {
	baseline := picture(t, "ok-baseline")
	wants := map[string][]byte{
		"ok-no-tables":   nil, // see below
		"two-ends":       baseline,
		"two-pictures":   baseline,
		"end-in-garbage": baseline,
		"no-end":         baseline,
		"zero-in-front":  baseline,
	}
	for _, name := range pictureNames(t, "") {
		sent := picture(t, name)
		for _, counts := range []bool{true, false} {
			got, err := repaired(sent, counts)
			want, other := wants[name]
			switch {
			case name == "bad-hole-in-scan" && !counts:
			case strings.HasPrefix(name, "bad-"):
				if !errors.Is(err, ErrDamaged) || len(got) != 0 {
					t.Errorf("%s, counted %v: got %d bytes, error %v; want ErrDamaged", name, counts, len(got), err)
				}
				continue
			case !other:
				want = sent
			case want == nil:
				scan := bytes.Index(sent, []byte{0xff, markerSOS})
				want = slices.Insert(bytes.Clone(sent), scan, huffmanTables...)
			}
			if err != nil || want != nil && !bytes.Equal(got, want) {
				t.Errorf("%s, counted %v: got %d bytes, error %v; want %d bytes", name, counts, len(got), err, len(want))
			}
		}
	}
}

// From a pipe come the same, and what follows in the same buffer.
func TestPicturesSplit(t *testing.T) {
	baseline := picture(t, "ok-baseline")
	two := picture(t, "two-pictures")
	half := picture(t, "bad-half-then-whole")
	wants := map[string][][]byte{
		"two-pictures":        {baseline, two[len(baseline):]},
		"bad-half-then-whole": {half[bytes.LastIndex(half, []byte{0xff, markerSOI}):]},
	}
	for _, name := range pictureNames(t, "") {
		sent := picture(t, name)
		want, other := wants[name]
		if !other {
			one, err := repaired(sent, true)
			if err == nil {
				want = [][]byte{one}
			}
		}
		want = append(slices.Clone(want), baseline, baseline)
		var got [][]byte
		pictures, _, err := split(bytes.NewReader(slices.Concat(sent, baseline, baseline)))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pictures {
			if whole, err := repaired(p, true); err == nil {
				got = append(got, whole)
			}
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: got %d pictures, want %d; or others", name, len(got), len(want))
		}
	}
}

// countable are the pictures whose blocks can all be counted.
func countable(t *testing.T) (names []string) {
	for _, name := range pictureNames(t, "ok-") {
		if name != "ok-arithmetic" && name != "ok-progressive" {
			names = append(names, name)
		}
	}
	return names
}

// Wherever data is missing in the scan, or comes twice, that is found by counting.
func TestCountFindsHoles(t *testing.T) {
	const packet = 512
	for _, name := range countable(t) {
		sent := picture(t, name)
		scan := bytes.LastIndex(sent, []byte{0xff, markerSOS})
		for at := scan + 20; at+packet < len(sent)-2; at += 100 {
			hole := slices.Concat(sent[:at], sent[at+packet:])
			if got, err := repaired(hole, true); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, hole at %d: got %d bytes, error %v; want ErrDamaged", name, at, len(got), err)
			}
			twice := slices.Concat(sent[:at+packet], sent[at:])
			if got, err := repaired(twice, true); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, twice what is at %d: got %d bytes, error %v; want ErrDamaged", name, at, len(got), err)
			}
		}
	}
}

// A picture that was cut off anywhere is damaged, also if an end follows, or the next
// picture.
func TestCountFindsCuts(t *testing.T) {
	next := picture(t, "ok-baseline")
	for _, name := range countable(t) {
		sent := picture(t, name)
		scan := bytes.LastIndex(sent, []byte{0xff, markerSOS})
		for at := scan + 14; at < len(sent)-3; at += 37 {
			for what, rest := range map[string][]byte{"nothing": nil, "an end": {0xff, markerEOI}, "another": next, "zeros": make([]byte, 4000)} {
				if got, err := repaired(slices.Concat(sent[:at], rest), true); !errors.Is(err, ErrDamaged) {
					t.Errorf("%s, %d of %d bytes and %s: got %d bytes, error %v; want ErrDamaged", name, at, len(sent), what, len(got), err)
				}
			}
		}
	}
}

// Noise of the best quality has many blocks that end without a symbol for that, and the longest
// codes.
func TestCountNoise(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio420} {
		m := image.NewYCbCr(image.Rect(0, 0, 200, 200), ratio)
		for _, plane := range [][]byte{m.Y, m.Cb, m.Cr} {
			for i := range plane {
				plane[i] = byte(noise.Uint32())
			}
		}
		for quality := 1; quality <= 100; quality += 9 {
			var b bytes.Buffer
			if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
				t.Fatal(err)
			}
			if got, err := repaired(b.Bytes(), true); err != nil || !bytes.Equal(got, b.Bytes()) {
				t.Errorf("quality %d: got %d bytes, error %v; want %d", quality, len(got), err, b.Len())
			}
		}
	}
}

// The signs of damage are found without counting, in all kinds of pictures.
func TestStructure(t *testing.T) {
	restart := picture(t, "ok-restart")
	other := func(b []byte, old, new string) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	type test struct {
		name string
		sent []byte
		want error
	}
	tests := []test{
		{"restart missing", other(restart, "\xff\xd3", ""), damageRestart},
		{"restart twice", other(restart, "\xff\xd3", "\xff\xd3\xff\xd3"), damageRestart},
		{"restart out of order", other(restart, "\xff\xd3", "\xff\xd4"), damageRestart},
		{"last restarts missing", slices.Concat(restart[:bytes.Index(restart, []byte("\xff\xd5"))], []byte{0xff, markerEOI}), damageMissing},
		{"restart without DRI", other(restart, "\xff\xdd\x00\x04", "\xff\xfe\x00\x04"), damageRestart},
	}
	for _, name := range pictureNames(t, "ok-") {
		sent := picture(t, name)
		middle := len(sent) - 500 // of the last scan
		for marker := range 256 {
			if b := byte(marker); b == 0 || b == 0xff || isRestart(b) || mayFollowScan(b) {
				continue
			}
			stray := slices.Concat(sent[:middle], []byte{0xff, byte(marker)}, sent[middle:])
			tests = append(tests, test{name + ", stray marker", stray, damageMarker})
		}
		if cut := sent[:len(sent)-2]; !slices.Contains(countable(t), name) {
			tests = append(tests, test{name + ", no end", cut, damageCut})
		}
	}
	for _, test := range tests {
		if got, err := repaired(test.sent, false); err != test.want {
			t.Errorf("%s: got %d bytes, error %v; want %v", test.name, len(got), err, test.want)
		}
	}
}

// Tables that a scan needs and the header lacks are put in, whichever they are.
func TestMissingTables(t *testing.T) {
	whole := picture(t, "ok-baseline")
	want, err := jpeg.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	for missing := range 16 {
		sent := whole
		for i, id := range []byte{0x00, 0x10, 0x01, 0x11} {
			if missing&(1<<i) != 0 {
				sent = withoutTable(t, sent, id)
			}
		}
		for _, counts := range []bool{true, false} {
			got, err := repaired(sent, counts)
			if err != nil {
				t.Errorf("without %04b: %v", missing, err)
			} else if m, err := jpeg.Decode(bytes.NewReader(got)); err != nil || !reflect.DeepEqual(m, want) {
				t.Errorf("without %04b: another picture, or error %v", missing, err)
			}
		}
	}
}

// withoutTable returns a picture without the segment that has a Huffman table alone, whose
// class and number are in id.
func withoutTable(t *testing.T, b []byte, id byte) []byte {
	t.Helper()
	at := bytes.Index(b, []byte{0xff, markerDHT, 0, 0x1f, id})
	if id&0x10 != 0 {
		at = bytes.Index(b, []byte{0xff, markerDHT, 0, 0xb5, id})
	}
	if at < 0 {
		t.Fatalf("there is no table %x", id)
	}
	return slices.Concat(b[:at], b[at+2+int(b[at+3]):])
}

// What belongs nowhere is left out of a picture: in front of it, behind it, and between the
// segments of its header.
func TestRepairerLeavesOut(t *testing.T) {
	whole := picture(t, "ok-baseline")
	end := whole[len(whole)-300:]
	header := bytes.Index(whole, []byte{0xff, markerDHT})
	for name, sent := range map[string][]byte{
		"FF in front":                  slices.Concat([]byte{0xff, 0xff, 0xff}, whole),
		"zeros in front":               slices.Concat(make([]byte, 100), whole),
		"the last one's end in front":  slices.Concat(end, whole),
		"bytes between segments":       slices.Concat(whole[:header], []byte("junk"), whole[header:]),
		"FF 00 between segments":       slices.Concat(whole[:header], []byte{1, 0xff, 0, 2}, whole[header:]),
		"zeros behind, no end":         slices.Concat(whole[:len(whole)-2], make([]byte, 1000)),
		"FF behind, no end":            slices.Concat(whole[:len(whole)-2], bytes.Repeat([]byte{0xff}, 1000)),
		"a comment cut off behind":     slices.Concat(whole[:len(whole)-2], []byte{0xff, markerCOM, 1, 0, 'a'}),
		"the next one behind, no end":  slices.Concat(whole[:len(whole)-2], whole),
		"the next one behind, and end": slices.Concat(whole, whole[:1000]),
	} {
		for _, counts := range []bool{true, false} {
			if got, err := repaired(sent, counts); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%s, counted %v: got %d bytes, error %v; want the picture", name, counts, len(got), err)
			}
		}
	}
	noise := slices.Concat(whole[:header], bytes.Repeat([]byte("junk\xff\xfe\x00\x02"), maxGaps+1), whole[header:])
	if _, err := repaired(noise, true); err != damageHeader {
		t.Errorf("with more gaps than that: got error %v, want %v", err, damageHeader)
	}
}

// A few bytes too many in front of a marker are no damage, and neither are zeros.
func TestExtraBytes(t *testing.T) {
	restart := picture(t, "ok-restart")
	for _, marker := range []string{"\xff\xd3", "\xff\xd9"} {
		at := bytes.LastIndex(restart, []byte(marker))
		for _, test := range []struct {
			extra []byte
			ok    bool
		}{
			{[]byte{1, 2, 3}, true},
			{bytes.Repeat([]byte{7}, maxExtra), true},
			{make([]byte, 4000), true},
			{bytes.Repeat([]byte{7}, maxExtra+1), false},
		} {
			sent := slices.Insert(bytes.Clone(restart), at, test.extra...)
			if _, err := repaired(sent, true); (err == nil) != test.ok {
				t.Errorf("%d bytes in front of % x: got error %v", len(test.extra), marker, err)
			}
		}
	}
}

// After a damaged picture all are counted for some time, later only some.
func TestWhenCounted(t *testing.T) {
	good, hole := picture(t, "ok-baseline"), picture(t, "bad-hole-in-scan")
	var r Repairer
	counted := func(n int, b []byte) (found int) {
		for range n {
			if _, err := r.Append(nil, b); err != nil {
				found++
			}
		}
		return found
	}
	if n := counted(1, hole); n != 1 {
		t.Error("the first picture was not counted")
	}
	if counted(countedAfter-1, good); counted(1, hole) != 1 {
		t.Error("the last of those after a damaged one was not counted")
	}
	counted(countedAfter, good)
	toCount := r.toCount
	counted(countedRest, good)
	if toCount != 0 || r.toCount != 0 {
		t.Errorf("%d pictures are still to be counted, want none", r.toCount)
	}
	if n := counted(countedRest, hole); n == 0 {
		t.Errorf("of %d damaged pictures none was counted", countedRest)
	}
	if n := counted(10, hole); n != 10 {
		t.Errorf("after that %d of 10 were counted", n)
	}
}

// libjpeg has no complaint about what comes out.
func TestPicturesDjpeg(t *testing.T) {
	needs(t, "djpeg")
	for _, name := range pictureNames(t, "") {
		got, err := repaired(picture(t, name), true)
		if err != nil {
			continue
		}
		djpeg := exec.Command("djpeg", "-outfile", os.DevNull)
		djpeg.Stdin = bytes.NewReader(got)
		if said, err := djpeg.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: djpeg says %q, error %v", name, said, err)
		}
	}
}

package mjpeg

import (
	"bytes"
	"errors"
	"io"
	"porthole/mjpeg/mjpegtest"
	"slices"
	"testing"
	"testing/iotest"
)

// splitStreams are streams as they may come out of a pipe.
func splitStreams(t testing.TB) []splitStream {
	whole := mjpegtest.SmallJPEG(t)
	scan := bytes.Index(whole, []byte{0xff, markerSOS})
	data := scan + 2 + int(whole[scan+3])
	cut := whole[:len(whole)-10]
	thumbnail := mjpegtest.InsertAfterSOI(whole, mjpegtest.Segment(0xe1, whole)) // in APP1
	eoi := []byte{0xff, markerEOI}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	within := func(parts ...[]byte) []byte { return join(whole[:data], join(parts...), whole[data:]) }
	// A second scan behind the first, with tables of its own before it.
	scans := join(whole[:len(whole)-2], mjpegtest.Segment(markerDHT, huffmanTables[4:]), whole[scan:])
	gap := join(whole[:2], mjpegtest.Segment(0xe1, whole), []byte{1, 2, 3}, whole[2:])
	fill := mjpegtest.InsertAfterSOI(whole, []byte{0xff, 0xff, 0xff})

	return []splitStream{
		{"nothing", nil, nil, 0},
		{"one", whole, [][]byte{whole}, 0},
		{"three", join(whole, onePicture, whole), [][]byte{whole, onePicture, whole}, 0},
		{"half", whole[:len(whole)/2], nil, 0},
		{"without its last byte", whole[:len(whole)-1], nil, 0},
		{"thumbnails", join(thumbnail, whole, thumbnail), [][]byte{thumbnail, whole, thumbnail}, 0},
		{"thumbnail in a thumbnail", mjpegtest.InsertAfterSOI(whole, mjpegtest.Segment(0xe1, thumbnail)), [][]byte{mjpegtest.InsertAfterSOI(whole, mjpegtest.Segment(0xe1, thumbnail))}, 0},
		{"two scans", join(scans, whole), [][]byte{scans, whole}, 0},
		{"fill", join(fill, whole), [][]byte{fill, whole}, 0},
		{"stuffing", within([]byte{0xff, 0}), [][]byte{within([]byte{0xff, 0})}, 0},
		{"restart markers", within([]byte{0xff, 0xd0, 1, 2, 0xff, 0xd7}), [][]byte{within([]byte{0xff, 0xd0, 1, 2, 0xff, 0xd7})}, 0},
		{"fill in the data", within([]byte{0xff, 0xff, 0xff, 0}), [][]byte{within([]byte{0xff, 0xff, 0xff, 0})}, 0},
		{"fill before the end", join(whole[:len(whole)-2], []byte{0xff}, eoi), [][]byte{join(whole[:len(whole)-2], []byte{0xff}, eoi)}, 0},

		{"text first", join([]byte("Made X/EGL preview window\n"), whole), [][]byte{whole}, 0},
		{"padding", join(whole, make([]byte, 100), whole, []byte{0xff, 0xff, 0xff}, whole), [][]byte{whole, whole, whole}, 0},
		{"the end only", join(eoi, whole), [][]byte{whole}, 0},
		{"the end twice", join(whole, eoi, whole), [][]byte{whole, whole}, 0},
		{"the start twice", join(whole[:2], whole), [][]byte{whole}, 1},
		{"truncated", join(cut, whole), [][]byte{cut, whole}, 0}, // only its end may be missing
		{"truncated, with a thumbnail", join(thumbnail[:len(thumbnail)-10], whole), [][]byte{thumbnail[:len(thumbnail)-10], whole}, 0},
		{"truncated in the header", join(whole[:scan], whole), [][]byte{whole}, 1},
		{"bytes behind a thumbnail", join(gap, whole), [][]byte{gap, whole}, 0},
		{"nonsense in the data", join(within([]byte{0xff, 0xc5}), whole), [][]byte{whole}, 1},
		{"no scan", join(whole[:scan], eoi, whole), [][]byte{whole}, 1},
		{"length 0", join(whole[:2], []byte{0xff, 0xe1, 0, 0}, whole), [][]byte{whole}, 1},
		{"restart outside a scan", join(whole[:2], []byte{0xff, 0xd3}, whole), [][]byte{whole}, 1},
		{"old marker", join(whole[:2], []byte{0xff, markerTEM}, whole), [][]byte{whole}, 1},
		{"half a marker last", join(whole, []byte{0xff}), [][]byte{whole}, 0},
	}
}

type splitStream struct {
	name     string
	stream   []byte
	pictures [][]byte
	damaged  int
}

// split cuts what r reads.
func split(r io.Reader) (pictures [][]byte, damaged int, err error) {
	var s Splitter
	for {
		picture, err := s.Next()
		switch {
		case errors.Is(err, ErrDamaged):
			damaged++
		case err != nil:
			return pictures, damaged, err
		case picture != nil:
			pictures = append(pictures, bytes.Clone(picture))
		default:
			if err := s.Fill(r); err == io.EOF {
				return pictures, damaged, nil
			} else if err != nil {
				return pictures, damaged, err
			}
		}
	}
}

func TestSplitter(t *testing.T) {
	readers := map[string]func([]byte) io.Reader{
		"at once":      func(b []byte) io.Reader { return bytes.NewReader(b) },
		"byte by byte": func(b []byte) io.Reader { return iotest.OneByteReader(bytes.NewReader(b)) },
		"in sevens":    func(b []byte) io.Reader { return &cutReader{b, []byte{7}} },
	}
	for _, test := range splitStreams(t) {
		for how, reader := range readers {
			t.Run(test.name+" "+how, func(t *testing.T) {
				pictures, damaged, err := split(reader(test.stream))
				if err != nil {
					t.Fatal(err)
				}
				if damaged != test.damaged {
					t.Errorf("%d damaged ones, want %d", damaged, test.damaged)
				}
				if !slices.EqualFunc(pictures, test.pictures, bytes.Equal) {
					t.Errorf("got  %x\nwant %x", pictures, test.pictures)
				}
			})
		}
	}
}

// cutReader reads b in pieces of the lengths in cuts, again and again.
type cutReader struct {
	b    []byte
	cuts []byte
}

func (r *cutReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(r.b), max(1, int(r.cuts[0])))
	copy(p, r.b[:n])
	r.b = r.b[n:]
	r.cuts = append(r.cuts[1:], r.cuts[0])
	return n, nil
}

// A picture without an end is an error before it takes all memory.
func TestSplitterBound(t *testing.T) {
	whole := mjpegtest.SmallJPEG(t)
	endless := io.MultiReader(bytes.NewReader(whole[:len(whole)-2]), zeros{})
	var s Splitter
	for range maxPicture/readSize + 10 {
		if _, err := s.Next(); err != nil {
			if errors.Is(err, ErrDamaged) {
				t.Error("got ErrDamaged, after which it would be asked for more")
			}
			if _, err := s.Next(); err == nil {
				t.Error("no error any more")
			}
			return
		}
		if err := s.Fill(endless); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("no error after %d bytes", len(s.buf))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Garbage is not kept.
func TestSplitterGarbage(t *testing.T) {
	var s Splitter
	for range 1000 {
		if picture, err := s.Next(); picture != nil || err != nil {
			t.Fatalf("got %d bytes, error %v", len(picture), err)
		}
		s.Fill(zeros{})
	}
	if cap(s.buf) > 2*readSize {
		t.Errorf("%d bytes are kept of garbage", cap(s.buf))
	}
}

func TestSplitterAllocs(t *testing.T) {
	var s Splitter
	picture := mjpegtest.InsertAfterSOI(onePicture, mjpegtest.Segment(0xfe, bytes.Repeat([]byte{'a'}, 32_000)))
	var r bytes.Reader
	got := testing.AllocsPerRun(100, func() {
		r.Reset(picture)
		for {
			if p, _ := s.Next(); p != nil {
				return
			}
			s.Fill(&r)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per picture", got)
	}
}

// However the input is cut, the same pictures come out of it, and each is a
// part of it that begins with SOI.
func FuzzSplitter(f *testing.F) {
	for _, test := range splitStreams(f) {
		f.Add(test.stream, []byte{1})
		f.Add(test.stream, []byte{3, 250, 1})
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		want, wantDamaged, err := split(bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		rest := stream
		for _, picture := range want {
			if !bytes.HasPrefix(picture, []byte{0xff, markerSOI}) {
				t.Fatalf("got % x, want something from FF D8 on", picture)
			}
			i := bytes.Index(rest, picture)
			if i < 0 {
				t.Fatalf("got % x, which is not in the rest of the input", picture)
			}
			rest = rest[i+len(picture):]
		}
		if len(cuts) == 0 {
			return
		}
		got, damaged, err := split(&cutReader{stream, bytes.Clone(cuts)})
		if err != nil || damaged != wantDamaged || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("cut: %d pictures, %d damaged, error %v; want %d, %d", len(got), damaged, err, len(want), wantDamaged)
		}
	})
}

package mjpeg

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A panic in any of the goroutines that encode a picture is one of Append, after which none of
// them uses the picture, and the next one is encoded.
func TestEncodePanic(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	r := newRawPicture("YUYV", 640, 480, testPictures(t)["page"])
	e := newTestEncoder(t, r, 80, false)
	want, err := e.Append(nil, r.data)
	if err != nil {
		t.Fatal(err)
	}
	own, other := e.buffer, e.work[0]
	tests := []struct {
		name  string
		spoil func()
	}{
		{"in the caller's", func() { e.buffer = nil }},
		{"in another", func() { e.work[0] = func() { e.encodeBeside(nil) } }},
		{"in both", func() { e.buffer, e.work[0] = nil, func() { e.encodeBeside(nil) } }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spoil()
			value := any(nil)
			for range 1000 { // a goroutine that comes late may find no strip to encode
				if value = appendPanic(e, r.data); value != nil {
					break
				}
			}
			if text := fmt.Sprint(value); !strings.Contains(text, "nil pointer") {
				t.Fatalf("got the panic %s, want one of a nil pointer", text)
			}
			e.working.Wait()
			e.buffer, e.work[0] = own, other
			if got, err := e.Append(nil, r.data); err != nil || !bytes.Equal(got, want) {
				t.Errorf("after that: got %d bytes, error %v; want the picture of before", len(got), err)
			}
		})
	}
}

// appendPanic returns the value of Append's panic, and of its goroutines, or nil.
func appendPanic(e *Encoder, raw []byte) (value any) {
	defer func() { value = recover() }()
	e.Append(nil, raw)
	return nil
}

package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// serveFrames sends a table of the frames, a row each as they arrive, up to ?n=
// of them. The numbers are those of the stream. A row is sent when the one before
// is on its way: a slow reader misses some, which shows in the numbers.
//
//	frame,time,bytes,interval_ms\r\n
//	41,1700000000.090000,27904,\r\n
//	42,1700000000.123456,27911,33.456\r\n
//
// Lines end as RFC 4180 has it. The time is that of X-Timestamp, the interval is
// from the capture in the row before to this one.
func (v *server) serveFrames(w http.ResponseWriter, r *http.Request) {
	const kind = "text/csv; charset=utf-8"
	rows, err := parseRows(r.URL.Query().Get("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodHead {
		newFeed(w, kind)
		return
	}
	if !v.addViewer(w) {
		return
	}
	defer v.stream.removeViewer()
	f := newFeed(w, kind)
	ctx, end := f.open(r, "\r\n") // who reads CSV skips empty lines
	defer end()
	v.stream.list(ctx, f, rows)
}

// parseRows returns the number of rows for ?n=; without it more than anybody
// waits for.
func parseRows(n string) (uint64, error) {
	if n == "" {
		return math.MaxUint64, nil
	}
	rows, err := strconv.ParseUint(n, 10, 64)
	if err != nil || rows == 0 {
		return 0, fmt.Errorf("n=%s: must be a whole number above 0", n)
	}
	return rows, nil
}

// list sends the table to its reader until it has so many rows, or ctx ends.
func (s *stream) list(ctx context.Context, to *feed, rows uint64) {
	defer context.AfterFunc(ctx, s.wake)()
	err := to.send([]byte("frame,time,bytes,interval_ms\r\n"))
	var (
		turn, number uint32
		before       time.Time // when the frame in the last row was captured
		row          []byte
	)
	for err == nil && rows > 0 && s.waitPublication(ctx, &turn) {
		f := s.newest()
		if f == nil {
			continue
		}
		repeated := f.number == number
		if !repeated {
			row = f.appendRow(row[:0], before)
			number, before = f.number, f.at
		}
		f.release() // before sending, which may take long
		if !repeated {
			err = to.send(row)
			rows--
		}
	}
}

// appendRow appends the frame's row of the table; before is when the frame in the
// row above was captured, zero in the first.
func (f *frame) appendRow(b []byte, before time.Time) []byte {
	b = strconv.AppendUint(b, uint64(f.number), 10)
	b = append(b, ',')
	b = appendSeconds(b, f.at)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(len(f.jpeg)), 10)
	b = append(b, ',')
	if !before.IsZero() {
		millis := float64(f.at.Sub(before).Microseconds()) / 1000
		b = strconv.AppendFloat(b, millis, 'f', 3, 64)
	}
	return append(b, "\r\n"...)
}

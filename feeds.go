package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"
)

const (
	// eventSpacing is the least time between the events that a reader gets.
	eventSpacing = time.Second

	// eventAge is how old an event may be when it is sent, so that all readers share one.
	// Encoding the state of a hundred clients for each reader would keep a Pi Zero busy.
	eventAge = 100 * time.Millisecond

	// keepAlive is the longest time that nothing is sent to a reader. The HTML standard
	// recommends "15 seconds or so" for server-sent events, because of proxies.
	keepAlive = 15 * time.Second
	comment   = ":\n"
)

// A feed is a response that grows as things happen, until its reader goes.
type feed struct {
	mu   sync.Mutex // protects both
	w    http.ResponseWriter
	last time.Time // when something was sent
}

// newFeed sets the header of a response that is a feed.
func newFeed(w http.ResponseWriter, kind string) *feed {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx collects before it passes on
	return &feed{w: w}
}

// send sends b at once. It fails if the reader is gone, or takes too little for too long.
func (f *feed) send(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = time.Now()
	if err := sendBody(f.w, b); err != nil {
		return err
	}
	return http.NewResponseController(f.w).Flush()
}

// open returns the context of the feed, which ends when its reader is gone. To find out, it
// sends text, which means nothing. The end function gives the reader time for the chunk of
// length 0 that ends the feed.
func (f *feed) open(r *http.Request, text string) (ctx context.Context, end func()) {
	ctx, stop := untilHangup(r, func() error {
		if f.silence() < probeTimeout/2 {
			return nil // much is sent, and will be
		}
		return f.send([]byte(text))
	})
	return ctx, func() {
		stop()
		extendDeadline(f.w)
	}
}

// silence returns for how long nothing was sent.
func (f *feed) silence() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.last)
}

// events sends the state of a server to readers when it changes.
type events struct {
	server *server

	mu      sync.Mutex // protects what follows
	readers int
	at      time.Time // when state was looked at
	state   state     // then, as far as it can stand still
	event   []byte    // all of it as it goes over the wire; never changed
	number  uint32    // counts changes
}

func newEvents(v *server) *events {
	return &events{server: v}
}

// serve sends the JSON of /state as server-sent events: one at once, and one when anything but
// a clock has changed. A reader is not a viewer: it does not keep the camera open. There may
// be as many readers as viewers.
func (e *events) serve(w http.ResponseWriter, r *http.Request) {
	const kind = "text/event-stream"
	if r.Method == http.MethodHead {
		newFeed(w, kind)
		return
	}
	if !e.addReader() {
		unavailable(w, fmt.Sprintf("too many readers: %d have the events already (see -max-clients)", e.server.stream.maxViewers))
		return
	}
	defer e.removeReader()
	f := newFeed(w, kind)
	ctx, end := f.open(r, comment)
	defer end()
	ticker := time.NewTicker(eventSpacing)
	defer ticker.Stop()

	event, sent := e.latest()
	err := f.send(event)
	for last := time.Now(); err == nil; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		event, number := e.latest()
		switch {
		case number != sent:
			sent = number
		case time.Since(last) >= keepAlive:
			event = []byte(comment)
		default:
			continue
		}
		last = time.Now()
		err = f.send(event)
	}
}

// addReader counts a reader in: false when there are too many.
func (e *events) addReader() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readers >= e.server.stream.maxViewers {
		return false
	}
	e.readers++
	return true
}

// removeReader counts a reader out.
func (e *events) removeReader() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readers--
}

// latest returns the event with the state as of now, or nearly. It has the same number as the
// one before if nothing has changed since.
func (e *events) latest() (event []byte, number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if now.Sub(e.at) < eventAge {
		return e.event, e.number
	}
	e.at = now
	st := e.server.state()
	text, _ := json.Marshal(st) // has no kind of value that could fail
	e.event = fmt.Appendf(nil, "data: %s\n\n", text)
	if still := st.withoutClocks(); e.number == 0 || !reflect.DeepEqual(still, e.state) {
		e.state = still
		e.number++
	}
	return e.event, e.number
}

// withoutClocks returns the state without the parts that always change. The list of clients
// has a clock for each, and while there are clients, the totals change too.
func (st state) withoutClocks() state {
	st.Uptime, st.Time, st.List = 0, 0, nil
	return st
}

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

// list sends at most rows rows of the table to its reader, until ctx ends.
func (s *stream) list(ctx context.Context, to *feed, rows uint64) {
	defer context.AfterFunc(ctx, s.wake)()
	err := to.send([]byte("frame,time,bytes,interval_ms\r\n"))
	var (
		seq, number uint32
		before      time.Time // when the frame in the last row was captured
		row         []byte
	)
	for err == nil && rows > 0 && s.waitPublication(ctx, &seq) {
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

package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const getFrames = "GET /frames.csv HTTP/1.1\r\nHost: test\r\n\r\n"

// Every byte of the table, each row there before the next frame comes, and none
// for a frame that is repeated.
func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		dial, _ := servePipes(t, s, &supervisor{stream: s})
		r := readLines(t, dial(getFrames))
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := r.texts(); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		}
		for key, want := range map[string]string{
			"Content-Type":      "text/csv; charset=utf-8",
			"Cache-Control":     "no-store",
			"X-Accel-Buffering": "no",
		} {
			if got := r.response.Header.Get(key); got != want {
				t.Errorf("got %s: %s, want %s", key, got, want)
			}
		}
		expect("frame,time,bytes,interval_ms\r\n")
		first := time.Unix(1_700_000_000, 999_958_000)
		publishAt(s, []byte("\xff\xd8 one \xff\xd9"), true, first)
		expect("1,1700000000.999958,9,\r\n")
		time.Sleep(3 * time.Second)
		expect("")
		publishAt(s, []byte("\xff\xd8 another \xff\xd9"), true, first.Add(42*time.Microsecond))
		expect("2,1700000001.000000,13,0.042\r\n")
		s.dropLatest()
		publishAt(s, []byte("\xff\xd8 late \xff\xd9"), true, first.Add(time.Hour))
		expect("3,1700003600.999958,13,3599999.958\r\n") // with fill bytes
		if got := s.state().Viewers; got != 1 {
			t.Errorf("got %d viewers, want the reader to be one", got)
		}
	})
}

// A slow reader misses frames, and is not sent old ones later.
func TestFramesSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStream(t)
		dial, _ := servePipes(t, s, &supervisor{stream: s})
		conn := dial(getFrames)
		synctest.Wait()
		start := time.Now()
		for i := range 10 { // before it has taken the header
			publishAt(s, picture1, true, start.Add(time.Duration(i)*time.Millisecond))
			synctest.Wait()
		}
		r := readLines(t, conn)
		synctest.Wait()
		publishAt(s, picture1, true, start.Add(10*time.Millisecond))
		synctest.Wait()
		want := fmt.Sprintf("frame,time,bytes,interval_ms\r\n10,%s,%d,\r\n11,%s,%[2]d,1.000\r\n",
			appendSeconds(nil, start.Add(9*time.Millisecond)), len(sent(picture1)),
			appendSeconds(nil, start.Add(10*time.Millisecond)))
		if got := r.texts(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// The table opens the camera, and lets go of it when its reader goes.
func TestFramesOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, c, _ := startSupervisor(t, "/dev/video0", "auto", 10*time.Second)
		dial, _ := servePipes(t, k.stream, k)
		time.Sleep(time.Minute)
		conn := dial(getFrames)
		r := readLines(t, conn)
		time.Sleep(time.Second + 50*time.Millisecond)
		if got := len(r.take()); got != 11 {
			t.Errorf("got %d lines in a second, want the header and 10 frames", got)
		}
		conn.Close()
		synctest.Wait() // no time passes in here
		if got := k.stream.state().Viewers; got != 0 {
			t.Errorf("got %d viewers after it hung up, want none", got)
		}
		time.Sleep(time.Minute)
		if opened, closed := c.history(); len(opened) != 2 || len(closed) != 2 {
			t.Errorf("opened at %v, closed at %v, want once more than the look at the start", opened, closed)
		}
	})
}

// ?n= is how many rows there are, read by the standard library.
func TestFramesCount(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100")
	for n := range 6 {
		if n == 0 {
			continue
		}
		body := text(t, ask(t, "GET", p.url+"/frames.csv?n="+strconv.Itoa(n)))
		rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil || len(rows) != n+1 || strings.Count(body, "\r\n") != n+1 {
			t.Fatalf("got %q (%v), want a header and %d rows", body, err, n)
		}
		before := 0
		for i, row := range rows[1:] {
			number, err := strconv.Atoi(row[0])
			if err != nil || number <= before {
				t.Errorf("got frame %s after %d (%v)", row[0], before, err)
			}
			if before = number; (row[3] == "") != (i == 0) {
				t.Errorf("row %d has the interval %q", i+1, row[3])
			}
		}
	}
	eventually(t, "no viewer is left", func() bool { return stateOf(t, p)["viewers"] == 0.0 })
}

// A reader that wants only the header of the answer opens no camera.
func TestFramesHead(t *testing.T) {
	s, address := serveStream(t, 1)
	for _, path := range []string{"/frames.csv", "/events"} {
		response := ask(t, http.MethodHead, "http://"+address+path)
		if got := text(t, response); got != "" || response.StatusCode != 200 {
			t.Errorf("%s: got %s and %q, want the header only", path, response.Status, got)
		}
	}
	if got := s.state().Viewers; got != 0 {
		t.Errorf("got %d viewers, want none", got)
	}
}

// Nothing is allocated for a row, except by net/http.
func TestRowAllocations(t *testing.T) {
	f := newStream(1, thisHost.sockets).getFrame()
	f.layOut(append(f.jpegBuffer(), picture1...), time.Now(), 1_000_000)
	before := f.at.Add(-33 * time.Millisecond)
	row := f.appendRow(nil, before)
	if n := testing.AllocsPerRun(100, func() { row = f.appendRow(row[:0], before) }); n != 0 {
		t.Errorf("%v allocations per row, want 0", n)
	}
	if !bytes.HasSuffix(row, []byte(",33.000\r\n")) {
		t.Errorf("got %q", row)
	}
}

// A full house is closed to the table, too.
func TestFramesFull(t *testing.T) {
	s, address := serveStream(t, 1)
	conn := dial(t, address, getFrames)
	eventually(t, "one reads", func() bool { return s.state().Viewers == 1 })
	response := ask(t, "GET", "http://"+address+"/frames.csv")
	const want = "too many viewers: 1 are watching already (see -max-clients)\n"
	if got, _ := io.ReadAll(response.Body); response.StatusCode != 503 || string(got) != want {
		t.Errorf("got %s %q, want 503 %q", response.Status, got, want)
	}
	conn.Close() // which no frame is needed for to notice
	eventually(t, "it is gone", func() bool { return s.state().Viewers == 0 })
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fuzzedServer returns the server of a camera that gives a picture every millisecond, and what it
// logs.
func fuzzedServer(f *testing.F) (sv *supervisor, logged *lockedText) {
	c := &adjustableCamera{fakeCamera: &fakeCamera{begin: time.Now(), device: "/dev/video0"}, values: map[string]int64{}}
	opened, err := c.open("/dev/video0", settings{width: 640, height: 480})
	if err != nil {
		f.Fatal(err)
	}
	s := newStream(3, thisHost.sockets)
	logged = keepLog(s)
	sv = newSupervisor(s, nil, settings{camera: "auto", width: 640, height: 480, quality: 80}, time.Second, s.panics.log)
	sv.attach(opened)
	publishJPEG(s, picture1)
	ctx := f.Context()
	go func() {
		for sleep(ctx, time.Millisecond) {
			publishJPEG(s, picture1)
		}
	}()
	return sv, logged
}

// fuzzedPaths are those that take a query.
var fuzzedPaths = []string{"/", "/stream", "/snapshot", "/frames.csv", "/state", "/settings", "/healthz"}

// Whatever is in a query, the answer is one of ours, and what is wrong in it is said.
func FuzzQuery(f *testing.F) {
	sv, logged := fuzzedServer(f)
	handler := newHandler(sv.stream, sv)
	for path := range fuzzedPaths {
		for _, query := range []string{
			"", "fps=5&raw=1", "fps=NaN", "max_age=500ms", "max_age=9e99h", "size=max", "size=640x480", "size=99999999999x1",
			"n=2", "n=-1", "action=stream;1700", "action=snapshot_0", "a;b=%zz&&=",
		} {
			f.Add(uint8(path), query)
		}
	}
	f.Fuzz(func(t *testing.T, path uint8, query string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		r := httptest.NewRequest("GET", fuzzedPaths[int(path)%len(fuzzedPaths)], nil).WithContext(ctx)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch w.Code {
		case 200:
		case 400, 404, 503, 505: // 505: a recorder is no HTTP/1 server
			if strings.TrimSpace(w.Body.String()) == "" {
				t.Errorf("got status %d and no reason", w.Code)
			}
		default:
			t.Errorf("got status %d: %s", w.Code, w.Body)
		}
		checkQuery(t, r.URL.Query())
		checkNothingLeft(t, sv.stream, logged)
	})
}

// checkQuery checks that what is accepted of a query is within its limits.
func checkQuery(t *testing.T, query url.Values) {
	t.Helper()
	if spacing, err := parseSpacing(query.Get("fps")); err == nil && (spacing < 0 || spacing > maxSpacing) {
		t.Errorf("fps=%s: got a spacing of %v", query.Get("fps"), spacing)
	}
	if age, err := parseAge(query.Get("max_age")); err == nil && age < 0 {
		t.Errorf("max_age=%s: got %v", query.Get("max_age"), age)
	}
	if rows, err := parseRows(query.Get("n")); err == nil && rows == 0 {
		t.Errorf("n=%s: got no rows", query.Get("n"))
	}
	if w, h, err := parseSize(query.Get("size")); err == nil && (min(w, h) < 16 || max(w, h) > 16384) {
		t.Errorf("size=%s: got %dx%d", query.Get("size"), w, h)
	}
}

// checkNothingLeft checks that a request has left no viewer behind, and no line in the log.
func checkNothingLeft(t *testing.T, s *stream, logged *lockedText) {
	t.Helper()
	eventually(t, "nobody watches", func() bool { return !s.isWatched() })
	if text := logged.String(); text != "" {
		t.Errorf("logged %q", text)
	}
}

// Whatever the body of a change is, in both forms, it is taken or refused as a whole, and what is
// wanted is something that a camera can have.
func FuzzSettings(f *testing.F) {
	sv, logged := fuzzedServer(f)
	handler := newHandler(sv.stream, sv)
	for _, body := range []string{
		`{"fps":5}`, `{"size":"320x240","controls":{"brightness":140}}`, `{"quality":1e2,"reset":true}`, `{"controls":{"gain":[]}}`,
		`{"fps":1e999}`, `{"fps":null}{}`, `[`, "size=320x240&fps=10.0", "brightness=default&reset=on", "quality=NaN", "fps=-0&=1&%zz", "",
	} {
		f.Add(true, []byte(body))
		f.Add(false, []byte(body))
	}
	start, _ := sv.wanted()
	f.Fuzz(func(t *testing.T, json bool, body []byte) {
		sv.install(start, false)
		r := httptest.NewRequest("POST", "/settings", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if json {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		got, _ := sv.wanted()
		switch {
		case w.Code == 400:
			if !reflect.DeepEqual(got, start) {
				t.Errorf("refused with %q, and set %+v", w.Body, got)
			}
		case w.Code != 200:
			t.Errorf("got status %d: %s", w.Code, w.Body)
		case got.width < 16 || got.height < 16 || !(got.fps >= 0 && got.fps <= maxRate) || got.quality < 1 || got.quality > 100:
			t.Errorf("set %+v", got)
		}
		checkNothingLeft(t, sv.stream, logged)
	})
}

// Whatever a browser calls us, the page of another server changes nothing. A page cannot set
// Sec-Fetch-Site, so what that says counts.
func FuzzHost(f *testing.F) {
	sv, logged := fuzzedServer(f)
	handler := newHandler(sv.stream, sv)
	f.Add("board:5000", "http://board:5000", "", "")
	f.Add("board:5000", "http://evil", "", "same-origin")
	f.Add("board:5000", "http://evil", "evil", "")
	f.Add("[::1%25eth0]:5000", "null", "", "cross-site")
	f.Add("", "http://", "", "")
	f.Add("a@b", "http://a@b", "a@b", "none")
	start, _ := sv.wanted()
	f.Fuzz(func(t *testing.T, host, origin, forwarded, site string) {
		sv.install(start, false)
		r := httptest.NewRequest("POST", "/settings", strings.NewReader("quality=50"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Host = host
		for name, value := range map[string]string{"Origin": origin, "X-Forwarded-Host": forwarded, "Sec-Fetch-Site": site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		got, _ := sv.wanted()
		if changed := got.quality == 50; changed != (w.Code == 200) {
			t.Errorf("got status %d, and it changed: %v", w.Code, changed)
		}
		ours := host != "" && strings.HasSuffix(origin, "//"+host) || forwarded != "" && strings.HasSuffix(origin, "//"+forwarded)
		if foreign := site == "" && strings.HasPrefix(origin, "http://") && !strings.ContainsAny(origin[7:], "/?#@") && !ours; foreign && w.Code == 200 {
			t.Errorf("host %q, origin %q, forwarded %q: got status 200", host, origin, forwarded)
		}
		checkNothingLeft(t, sv.stream, logged)
	})
}

// Whatever comes over a connection, what goes back is HTTP, and nothing is left of it.
func FuzzHTTP(f *testing.F) {
	sv, logged := fuzzedServer(f)
	pipes := &pipeListener{conns: make(chan net.Conn), ended: make(chan struct{})}
	web := newWebServer(f.Context(), newHandler(sv.stream, sv), thisHost.sockets, log.New(io.Discard, "", 0))
	l := newLimitListener(pipes, sv.stream, 0, sv.log)
	go l.serve(web, nil)
	for _, path := range append(fuzzedPaths, "/events", "/?action=snapshot", "/../etc") {
		f.Add(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path))
	}
	f.Add([]byte("POST /settings HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"fps\":5}"))
	f.Add([]byte("POST /settings HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n"))
	f.Add([]byte("GET /snapshot HTTP/1.0\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"))
	f.Add([]byte("OPTIONS * HTTP/1.1\r\nHost: test\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		near, far := net.Pipe()
		pipes.conns <- near
		far.SetDeadline(time.Now().Add(20 * time.Millisecond))
		go far.Write(request)
		answer, err := bufio.NewReader(far).ReadString('\n')
		if err == nil && !strings.HasPrefix(answer, "HTTP/1.") {
			t.Errorf("got %q, want HTTP", answer)
		}
		io.CopyN(io.Discard, far, 64<<10)
		far.Close()
		eventually(t, "the server has closed its end", func() bool {
			all, _ := l.count(l.any)
			return all == 0
		})
		checkNothingLeft(t, sv.stream, logged)
	})
}

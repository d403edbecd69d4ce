package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Every answer tells browsers what not to do with it.
func TestAccessHeader(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated")
	for _, path := range []string{"/", "/state", "/settings", "/snapshot", "/healthz", "/events", "/frames.csv", "/metrics", "/nonsense"} {
		response := ask(t, "GET", p.url+path)
		if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: got X-Content-Type-Options: %s, want nosniff", path, got)
		}
		if got := response.Header.Get("Referrer-Policy"); got != "same-origin" {
			t.Errorf("%s: got Referrer-Policy: %s, want same-origin", path, got)
		}
	}
}

// askWith asks with a user and a password, if there is one.
func askWith(t *testing.T, method, url, pair string) *http.Response {
	t.Helper()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader(`{"fps":2}`)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if user, password, ok := strings.Cut(pair, ":"); ok {
		r.SetBasicAuth(user, password)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// Who has no password gets nothing, who may watch changes nothing.
func TestAuth(t *testing.T) {
	const owner, viewer = "anna:se:cret ä", "guest:look"
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100", "-auth", owner, "-auth-view", viewer)
	paths := strings.Fields("/ /stream /stream?raw=1 /stream.mjpg /video_feed /?action=stream /snapshot /?action=snapshot " +
		"/state /events /frames.csv /settings /metrics /nonsense /healthz/ //healthz")
	for _, pair := range []string{"", owner, viewer} {
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD"} {
				response := askWith(t, method, p.url+path, pair)
				if got := response.StatusCode; (got == 401) != (pair == "") {
					t.Errorf("%s %s as %q: got %s", method, path, pair, response.Status)
				}
				challenge := `Basic realm="porthole", charset="UTF-8"`
				if got := response.Header.Get("WWW-Authenticate"); (got == challenge) != (pair == "") {
					t.Errorf("%s %s as %q: got WWW-Authenticate: %s", method, path, pair, got)
				}
			}
		}
	}
	tests := []struct {
		request, pair string
		want          int
		message       string
	}{
		{"GET /state", "", 401, "a user and a password are needed here\n"},
		{"GET /state", "anna:", 401, "the user or the password is wrong\n"},
		{"GET /state", "anna:se", 401, "the user or the password is wrong\n"},
		{"GET /state", "guest:se:cret ä", 401, "the user or the password is wrong\n"},
		{"GET /state", "anna:se:cret \xe4", 200, ""}, // Latin-1
		{"GET /state", "anna:se:cret \xc3", 401, "the user or the password is wrong\n"},
		{"OPTIONS /settings", "", 401, "a user and a password are needed here\n"},
		{"OPTIONS /settings", viewer, 204, ""},
		{"POST /settings", "", 401, "a user and a password are needed here\n"},
		{"POST /settings", viewer, 403, "this user may watch, and change nothing\n"},
		{"POST /settings", owner, 200, ""},
		{"GET /healthz", "", 200, ""},
		{"HEAD /healthz", "", 200, ""},
	}
	eventually(t, "the camera was looked for", func() bool { return askWith(t, "GET", p.url+"/healthz", "").StatusCode == 200 })
	for _, tt := range tests {
		method, path, _ := strings.Cut(tt.request, " ")
		response := askWith(t, method, p.url+path, tt.pair)
		if got := text(t, response); response.StatusCode != tt.want || tt.message != "" && got != tt.message {
			t.Errorf("%s as %q: got %d %q, want %d %q", tt.request, tt.pair, response.StatusCode, got, tt.want, tt.message)
		}
	}
}

// A name that others can have does them no good without the password.
func TestAuthAnswersToAnyName(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-auth", "anna:secret")
	_, port, _ := strings.Cut(p.address, ":")
	for line, want := range map[string]int{"X: x": 401, "Authorization: Basic YW5uYTpzZWNyZXQ=": 200, "Authorization: Basic YW5uYTpzZWNyZXQ": 401, "Authorization: Bearer x": 401} {
		if got := askAs(t, p.address, "GET /state", "cam.example.com:"+port, line); got.StatusCode != want {
			t.Errorf("%s: got %s, want %d", line, got.Status, want)
		}
	}
}

// Wrong passwords from one address become slow, and the right one does not.
func TestAuthSlowsGuesses(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-auth", "anna:secret")
	for range freeGuesses {
		askWith(t, "GET", p.url+"/state", "anna:wrong")
	}
	start := time.Now()
	if got := askWith(t, "GET", p.url+"/state", "anna:wrong"); got.StatusCode != 401 || time.Since(start) < guessTime {
		t.Errorf("got %s after %v, want 401 after %v", got.Status, time.Since(start), guessTime)
	}
	p.logged(t, "127.0.0.1: more than 5 wrong passwords")
	if got := askWith(t, "GET", p.url+"/state", "anna:secret"); got.StatusCode != 200 {
		t.Errorf("got %s with the right password", got.Status)
	}
}

func TestAccessWrongArgs(t *testing.T) {
	tests := []struct{ args, message string }{
		{"-auth secret", "-auth, or $PORTHOLE_AUTH: must be a user and a password, like anna:hunter2"},
		{"-auth :secret", "-auth, or $PORTHOLE_AUTH: must be a user and a password, like anna:hunter2"},
		{"-auth=", "-auth, or $PORTHOLE_AUTH: must be a user and a password, like anna:hunter2"},
		{"-auth-view guest:look", "-auth-view: needs -auth too, for those who may change settings"},
		{"-auth a:b -auth-view guest", "-auth-view: must be a user and a password, like guest:secret"},
		{"-allow-origin mainsail.local", `invalid value "mainsail.local" for flag -allow-origin: must be * or where a page is from, like http://mainsail.local or http://10.0.0.2:8080`},
		{"-allow-origin http://mainsail.local/webcam", `invalid value "http://mainsail.local/webcam" for flag -allow-origin: must be * or where a page is from, like http://mainsail.local or http://10.0.0.2:8080`},
		{"-allow-host http://cam/", `invalid value "http://cam/" for flag -allow-host: must be a name like cam.example.com, without a port`},
		{"-allow-host cam:80", `invalid value "cam:80" for flag -allow-host: must be a name like cam.example.com, without a port`},
		{"-tls-cert cert.pem", "-tls-cert and -tls-key: there must be both, or none"},
		{"-tls-key key.pem", "-tls-cert and -tls-key: there must be both, or none"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) { wantUsageError(t, strings.Fields(tt.args), tt.message) })
	}
}

// The password is not in what wrong flags, help and the log say.
func TestAuthIsNotTold(t *testing.T) {
	t.Setenv(authVariable, "anna:secret")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), thisHost, []string{"-h"}, &stdout, &stderr); status != 0 || strings.Contains(stdout.String(), "secret") {
		t.Errorf("got status %d and %q", status, &stdout)
	}
	t.Setenv(authVariable, "anna-secret")
	const want = "porthole: -auth, or $PORTHOLE_AUTH: must be a user and a password, like anna:hunter2\n"
	if status := run(t.Context(), thisHost, nil, &stdout, &stderr); status != 2 || stderr.String() != want {
		t.Errorf("got status %d and %q, want 2 and %q", status, &stderr, want)
	}
}

// $PORTHOLE_AUTH and $PORTHOLE_AUTH_VIEW are for porthole alone. The flag comes before it.
func TestAuthVariable(t *testing.T) {
	for _, tt := range []struct{ args, want string }{{"", "anna:secret"}, {"-auth bob:key", "bob:key"}} {
		t.Setenv(authVariable, "anna:secret")
		t.Setenv(authViewVariable, "guest:look")
		o, _, err := parseArgs(strings.Fields(tt.args), thisHost.drivers)
		if err != nil || o.auth == nil || *o.auth != tt.want || o.authView == nil || *o.authView != "guest:look" {
			t.Errorf("%q: got %v, %v, error %v, want %s and guest:look", tt.args, o.auth, o.authView, err, tt.want)
		}
		for _, name := range []string{authVariable, authViewVariable} {
			if value, there := os.LookupEnv(name); there {
				t.Errorf("%q: programs that porthole starts get %q", tt.args, value)
			}
		}
	}
}

// Programs that read cameras take the user and the password from the address.
func TestAuthOfPrograms(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "15", "-auth", "anna:s3cret")
	at := strings.Replace(p.url, "//", "//anna:s3cret@", 1)
	for _, command := range []string{
		"curl -sf --max-time 30 -o /dev/null %s/snapshot",
		"ffmpeg -v error -i %s/stream -frames:v 3 -f null -",
		"ffmpeg -v error -i %s/?action=snapshot -frames:v 1 -f null -",
		"wget -q -O /dev/null %s/snapshot",
	} {
		args := strings.Fields(fmt.Sprintf(command, at))
		if _, err := exec.LookPath(args[0]); err != nil {
			continue // it is more than what the page needs
		}
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v: %s", args, err, out)
		}
	}
}

// Whatever is in the header, only the two pairs get in, each as far as it may, and what is
// remembered of the others is bounded.
func FuzzAuthorization(f *testing.F) {
	owner, viewer := "anna:hunter2", "guest:look:here"
	a := newAccess(accessOptions{auth: &owner, authView: &viewer}, "", new(refusals), log.New(io.Discard, "", 0))
	handler := a.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, pair := range []string{owner, viewer, "anna:", ":", "anna", "anna:hunter2:", "ANNA:hunter2", "anna:hunter2\x00", "é:ü"} {
		f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte(pair)), true)
		f.Add("bAsIc  "+base64.RawStdEncoding.EncodeToString([]byte(pair)), false)
	}
	f.Add("Bearer anna:hunter2", true)
	f.Add("Basic anna:hunter2", false)
	f.Add("Basic", false)
	var address uint32 // of the next request: one address is answered more and more slowly
	f.Fuzz(func(t *testing.T, authorization string, change bool) {
		address++
		r := httptest.NewRequest("GET", "/state", nil)
		if change {
			r.Method = "POST"
		}
		r.Header.Set("Authorization", authorization)
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1000", address>>16&0xff, address>>8&0xff, address&0xff)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)

		want := http.StatusUnauthorized
		scheme, coded, _ := strings.Cut(authorization, " ")
		pair, err := base64.StdEncoding.DecodeString(coded)
		switch {
		case err != nil || !strings.EqualFold(scheme, "Basic"):
		case string(pair) == owner, string(pair) == viewer && !change:
			want = http.StatusOK
		case string(pair) == viewer:
			want = http.StatusForbidden
		}
		if w.Code != want {
			t.Errorf("%q: got status %d, want %d", authorization, w.Code, want)
		}
		if asked := w.Header().Get("WWW-Authenticate") != ""; asked != (want == http.StatusUnauthorized) {
			t.Errorf("%q: status %d, and asked for a password: %v", authorization, w.Code, asked)
		}
		if n := len(a.guesses.from); n > maxGuessers {
			t.Errorf("remembered %d addresses, want at most %d", n, maxGuessers)
		}
	})
}

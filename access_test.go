package main

import "testing"

// Every answer tells browsers what not to do with it.
func TestAccessHeader(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated")
	for _, path := range []string{"/", "/state", "/settings", "/snapshot", "/healthz", "/events", "/frames.csv", "/nonsense"} {
		response := ask(t, "GET", p.url+path)
		if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: got X-Content-Type-Options: %s, want nosniff", path, got)
		}
		if got := response.Header.Get("Referrer-Policy"); got != "same-origin" {
			t.Errorf("%s: got Referrer-Policy: %s, want same-origin", path, got)
		}
	}
}

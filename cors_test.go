package main

import (
	"net/http"
	"strings"
	"testing"
)

// corsOf returns the header of an answer that is for pages of others.
func corsOf(h http.Header) string {
	var all []string
	for _, name := range []string{"Origin", "Credentials", "Methods", "Headers", "Private-Network"} {
		if value := h.Get("Access-Control-Allow-" + name); value != "" {
			all = append(all, value)
		}
	}
	return strings.Join(all, "; ")
}

const mainsail = "http://mainsail.local"

// Pages of -allow-origin may read every route, and others none.
func TestCORS(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-fps", "100", "-allow-origin", mainsail+"/", "-allow-origin", "http://10.0.0.2:8080")
	for _, path := range strings.Fields("/ /stream /stream?raw=1 /?action=stream /snapshot /state /events /frames.csv /settings /metrics /healthz /nonsense /stream?fps=x") {
		for origin, want := range map[string]string{
			"": "", mainsail: mainsail + "; true", "http://10.0.0.2:8080": "http://10.0.0.2:8080; true",
			"https://mainsail.local": "", mainsail + ":80": "", "http://10.0.0.2": "", "null": "",
		} {
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				response := askAs(t, p.address, method+" "+path, p.address, "Origin: "+origin)
				if got := corsOf(response.Header); got != want {
					t.Errorf("%s %s from %s: got %q, want %q", method, path, origin, got, want)
				}
				if got := response.Header.Get("Vary"); got != "Origin" {
					t.Errorf("%s %s from %s: got Vary: %s, want Origin", method, path, origin, got)
				}
			}
		}
	}
}

// A browser that asks first needs no password, and gets no leave to send settings.
func TestCORSPreflight(t *testing.T) {
	const (
		may     = "GET, HEAD; Authorization, Cache-Control, Pragma, X-Requested-With"
		asks    = "Access-Control-Request-Method: GET"
		private = "Access-Control-Request-Private-Network: true"
	)
	named := []string{"-allow-origin", mainsail}
	tests := []struct {
		name, origin string
		flags        []string
		asks         []string
		code         int
		want         string
	}{
		{"allowed", mainsail, named, []string{asks}, 204, mainsail + "; true; " + may},
		{"in a private network", mainsail, named, []string{asks, private}, 204, mainsail + "; true; " + may + "; true"},
		{"to change settings", mainsail, named, []string{"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"}, 204, mainsail + "; true; " + may},
		{"another", "http://example.com", named, []string{asks, private}, 401, ""},
		{"all", "http://example.com", []string{"-allow-origin", "*"}, []string{asks}, 204, "*; " + may},
		{"a page in a file, all", "null", []string{"-allow-origin", "*"}, []string{asks}, 204, "*; " + may},
		{"none", mainsail, nil, []string{asks, private}, 401, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := begin(t, append(tt.flags, "-listen", "127.0.0.1:0", "-camera", "emulated", "-auth", "anna:secret")...)
			for _, path := range []string{"/stream", "/settings", "/events"} {
				response := askAs(t, p.address, "OPTIONS "+path, p.address, append(tt.asks, "Origin: "+tt.origin)...)
				if got := corsOf(response.Header); response.StatusCode != tt.code || got != tt.want {
					t.Errorf("%s: got %s, %q, want %d, %q", path, response.Status, got, tt.code, tt.want)
				}
			}
		})
	}
}

// A page that may read changes nothing.
func TestCORSChangesNothing(t *testing.T) {
	p := begin(t, "-listen", "127.0.0.1:0", "-camera", "emulated", "-allow-origin", mainsail)
	for _, kind := range []string{"application/x-www-form-urlencoded", "text/plain", ""} {
		response := askAs(t, p.address, "POST /settings", p.address, "Origin: "+mainsail, "Content-Type: "+kind, "Content-Length: 0")
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %s, want 403", kind, response.Status)
		}
	}
}

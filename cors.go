package main

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origins are where the pages are from that may read all answers: as browsers say it in Origin, or *
// for all pages.
type origins []string

// parseAllowOrigin reads an -allow-origin.
func (o *accessOptions) parseAllowOrigin(origin string) error {
	u, err := url.Parse(origin)
	if origin != "*" && (err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "") {
		return errors.New("must be * or where a page is from, like http://mainsail.local or http://10.0.0.2:8080")
	}
	o.allowOrigins = append(o.allowOrigins, strings.TrimRight(strings.ToLower(origin), "/"))
	return nil
}

// answer lets pages of these origins read the answer (CORS, section 3.2 of the Fetch
// standard), with the password that their browser has for us or that they send themselves. If the
// browser asks whether such a page may send its request, this is the answer, and it is true: such a
// question has no password (section 4.8).
//
// A page may read, and change nothing: see isCrossOrigin. Content-Type is not among the
// headers that it may send, and must not be.
func (o origins) answer(w http.ResponseWriter, r *http.Request) (answered bool) {
	origin, h := r.Header.Get("Origin"), w.Header()
	if len(o) == 0 {
		return false
	}
	h.Add("Vary", "Origin")
	switch {
	case slices.Contains(o, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(o, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return false
	}
	h.Set("Access-Control-Expose-Headers", "X-Frame, X-Timestamp")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Pragma, X-Requested-With")
	h.Set("Access-Control-Max-Age", "600") // seconds
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

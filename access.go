package main

import (
	"log"
	"net"
	"net/http"
)

// accessOptions are the flags that say who may do what.
type accessOptions struct {
	allowHosts []string
}

// access is in front of all routes. It decides who may use them.
type access struct {
	hosts hostNames
}

func newAccess(o accessOptions, ownName string) *access {
	return &access{hosts: newHostNames(ownName, o.allowHosts)}
}

// guard lets only those requests reach h that may.
func (a *access) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSafetyHeader(w.Header())
		if err := a.hosts.check(r); err != nil {
			http.Error(w, err.Error(), http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// setSafetyHeader sets what browsers are told with every answer: to believe its Content-Type, and to
// tell other servers nothing of our addresses.
func setSafetyHeader(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

// logOpen logs that others can watch, if they can.
func (a *access) logOpen(at net.Addr, logger *log.Logger) {
	if tcp, ok := at.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		logger.Print("anyone on the network can watch and change settings: -auth USER:PASSWORD sets a password")
	}
}

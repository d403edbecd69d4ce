package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// These are where -auth and -auth-view come from if the flag is not given. Flags are seen in lists of
// processes.
const (
	authVariable     = "PORTHOLE_AUTH"
	authViewVariable = "PORTHOLE_AUTH_VIEW"
)

// accessOptions are the flags that say who may do what.
type accessOptions struct {
	auth, authView *string // nil without
	allowHosts     []string
	allowOrigins   origins
	tlsCert        string // file names; "" without TLS
	tlsKey         string
}

// setPair returns what takes over a flag that is a user and a password. The flag package would put a
// wrong one into its error.
func setPair(to **string) func(string) error {
	return func(pair string) error {
		*to = &pair
		return nil
	}
}

// takeAuth takes -auth and -auth-view from the environment, if the flag was not given. The programs
// that porthole starts don't get them.
func (o *accessOptions) takeAuth() {
	take := func(name string, to **string) {
		if pair := os.Getenv(name); pair != "" && *to == nil {
			*to = &pair
		}
		os.Unsetenv(name)
	}
	take(authVariable, &o.auth)
	take(authViewVariable, &o.authView)
}

// check reports a flag that is wrong. No password must be in what it says.
func (o *accessOptions) check() error {
	switch {
	case !isPair(o.auth):
		return errors.New("-auth, or $" + authVariable + ": must be a user and a password, like anna:hunter2")
	case !isPair(o.authView):
		return errors.New("-auth-view: must be a user and a password, like guest:secret")
	case o.authView != nil && o.auth == nil:
		return errors.New("-auth-view: needs -auth too, for those who may change settings")
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return errors.New("-tls-cert and -tls-key: there must be both, or none")
	}
	return nil
}

// isPair reports whether pair is nil, or a user and a password.
func isPair(pair *string) bool {
	if pair == nil {
		return true
	}
	user, password, _ := strings.Cut(*pair, ":")
	return user != "" && password != ""
}

// A role says what a request may do.
type role int

const (
	roleNone  role = iota
	roleView       // watch
	roleOwner      // change settings, too
)

// access is in front of all routes. It decides who may use them.
type access struct {
	hosts   hostNames
	origins origins
	auth    map[[sha256.Size]byte]role // of a user and a password; empty: everybody is an owner
	guesses *guesses

	refusals *refusals
}

func newAccess(o accessOptions, ownName string, refused *refusals, logger *log.Logger) *access {
	a := &access{
		hosts:   newHostNames(ownName, o.allowHosts),
		origins: o.allowOrigins,
		auth:    make(map[[sha256.Size]byte]role),
		guesses: newGuesses(logger),

		refusals: refused,
	}
	if o.authView != nil {
		a.auth[sumOf(*o.authView)] = roleView
	}
	if o.auth != nil {
		a.auth[sumOf(*o.auth)] = roleOwner
	}
	return a
}

// guard lets only those requests reach h that may.
func (a *access) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSafetyHeader(w.Header())
		if !a.origins.answer(w, r) && a.admit(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

// admit reports whether a request may go on. Otherwise it answers it.
func (a *access) admit(w http.ResponseWriter, r *http.Request) bool {
	if len(a.auth) > 0 {
		return r.URL.Path == "/healthz" || a.authorize(w, r) // watchdogs have no password
	}
	err := a.hosts.check(r)
	if err != nil {
		a.refusals.hosts.Add(1)
		http.Error(w, err.Error(), http.StatusMisdirectedRequest)
	}
	return err == nil
}

// authorize is admit where a password is needed.
func (a *access) authorize(w http.ResponseWriter, r *http.Request) bool {
	why := "a user and a password are needed here"
	user, password, given := r.BasicAuth()
	who := a.roleOf(user, password)
	if given {
		why = "the user or the password is wrong"
		if !a.guesses.await(r.Context(), r.RemoteAddr, who != roleNone) {
			a.refusals.guesses.Add(1)
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many wrong passwords come from this address: try again in a few seconds", http.StatusTooManyRequests)
			return false
		}
		extendDeadline(w) // that may have taken time
	}
	switch {
	case who == roleNone:
		if given {
			a.refusals.passwords.Add(1)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="porthole", charset="UTF-8"`)
		http.Error(w, why, http.StatusUnauthorized)
	case who == roleView && r.Method == http.MethodPost:
		http.Error(w, "this user may watch, and change nothing", http.StatusForbidden)
	default:
		return true
	}
	return false
}

// roleOf returns what a user with a password may do. It takes the same time for all of them.
func (a *access) roleOf(user, password string) role {
	sum := sumOf(user + ":" + password)
	may := 0
	for pair, role := range a.auth {
		may |= subtle.ConstantTimeCompare(pair[:], sum[:]) * int(role)
	}
	return role(may)
}

// sumOf returns the sum of a user and a password, in UTF-8. What is not UTF-8 is Latin-1: so libsoup
// sends passwords, with all browsers of WebKitGTK, whatever the server asks for.
func sumOf(pair string) [sha256.Size]byte {
	if !utf8.ValidString(pair) {
		letters := make([]rune, len(pair))
		for i := range letters {
			letters[i] = rune(pair[i])
		}
		pair = string(letters)
	}
	return sha256.Sum256([]byte(pair))
}

// setSafetyHeader sets what browsers are told with every answer: to believe its Content-Type, and to
// tell other servers nothing of our addresses.
func setSafetyHeader(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

// logOpen logs that others can watch, if they can.
func (a *access) logOpen(listeners []net.Listener, logger *log.Logger) {
	isOpen := func(l net.Listener) bool { return openPort(l.Addr()) > 0 }
	if len(a.auth) == 0 && slices.ContainsFunc(listeners, isOpen) {
		logger.Print("anyone on the network can watch and change settings: -auth USER:PASSWORD sets a password")
	}
}

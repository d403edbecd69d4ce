package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

var (
	errSilent    = errors.New("nothing came in time")
	errRedirects = errors.New("it sends us from one address to the next: is this the stream's?")
)

// checkResponse reports whether an answer is one picture. An error says that it is neither that nor
// a stream.
func checkResponse(answer *http.Response, gavePassword bool) (single bool, err error) {
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return false, unauthorized(answer.Header, gavePassword)
	case http.StatusNotFound:
		return false, errors.New("404: not found: is this the stream's address?")
	case http.StatusServiceUnavailable:
		return false, errors.New("503: service unavailable: does it have another viewer?")
	default:
		return false, fmt.Errorf("%d: %s", answer.StatusCode, strings.ToLower(http.StatusText(answer.StatusCode)))
	}
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";") // what is behind it is wrong in many
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "image/jpeg", kind == "image/jpg", kind == "image/pjpeg":
		return true, nil
	case kind == "", kind == "application/octet-stream", strings.HasPrefix(kind, "multipart/"), strings.Contains(kind, "jpeg"):
		return false, nil
	}
	return false, fmt.Errorf("answers %s: is this the stream's address?", printable(kind))
}

// unauthorized says what to do about 401.
func unauthorized(header http.Header, gavePassword bool) error {
	ways := header.Values("WWW-Authenticate")
	isBasic := func(way string) bool { return strings.HasPrefix(strings.ToLower(way), "basic") }
	switch {
	case len(ways) > 0 && !slices.ContainsFunc(ways, isBasic):
		way, _, _ := strings.Cut(ways[0], " ")
		return fmt.Errorf("401: it asks for a password by %s, and porthole knows Basic alone: change that in the camera", printable(way))
	case !gavePassword:
		return errors.New("401: it asks for a user and a password: put them in front of the host, as in user:password@cam.lan")
	}
	return errors.New("401: the user or the password is wrong")
}

// describeHTTP says what is wrong in words for a person. Errors of net/http have the whole address
// in them, so of others it takes the innermost.
func describeHTTP(err error) string {
	isAsking := errors.As(err, new(*url.Error))
	var dns *net.DNSError
	var number syscall.Errno
	switch {
	case errors.As(err, &dns) && dns.IsNotFound && strings.HasSuffix(strings.TrimSuffix(dns.Name, "."), ".local"):
		return "no such host: porthole cannot look up all names in .local: try the IP address"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "its name cannot be looked up: " + dns.Err
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH):
		errors.As(err, &number)
		return number.Error() + ": is the camera on?"
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "its certificate is not one that this machine trusts: name a file that has it in SSL_CERT_FILE"
	case isAsking && errors.Is(err, io.EOF):
		return "it hung up and did not answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the stream ended"
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return printable(err.Error())
}

package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
)

// A panicError is a panic that costs a part of the program, like a camera, and not all of it.
type panicError struct {
	value any
	stack string // without addresses and numbers of goroutines: the same each time
}

// Error says the same of all panics, so that one whose value differs each time, like a wrong index,
// does not fill the log.
func (p *panicError) Error() string {
	return "a fault in porthole: its log says more, behind \"panic:\""
}

// report returns what is logged of the panic.
func (p *panicError) report() string {
	return fmt.Sprintf("panic: %v%s", p.value, p.stack)
}

// newPanicError returns the panic with a value that was recovered, in a function that was deferred.
// One that was carried over from another goroutine stays what it was.
func newPanicError(value any) *panicError {
	if p, ok := value.(*panicError); ok {
		return p
	}
	var pcs [64]uintptr
	var stack strings.Builder
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		fmt.Fprintf(&stack, "\n\t%s (%s:%d)", f.Function, f.File, f.Line)
	}
	return &panicError{value, stack.String()}
}

// catch calls f. It returns the panic if f panics, else nil.
func catch(f func()) (p *panicError) {
	defer func() {
		if value := recover(); value != nil {
			p = newPanicError(value)
		}
	}()
	f()
	return nil
}

// A panicLog logs panics, each stack once: what panics is tried again.
type panicLog struct {
	log *log.Logger

	mu   sync.Mutex
	seen map[string]bool // stacks
}

// catch calls f. If f panics, it logs and returns the panic.
func (l *panicLog) catch(f func()) *panicError {
	p := catch(f)
	if p != nil && l.isNew(p.stack) {
		l.log.Print(p.report())
	}
	return p
}

func (l *panicLog) isNew(stack string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	seen := l.seen[stack]
	l.seen[stack] = true
	return !seen
}

// handler answers a request with status 500 if h panics. If h has sent something before, the
// connection is closed.
func (l *panicLog) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched := &watchedWriter{ResponseWriter: w}
		p := l.catch(func() { h.ServeHTTP(watched, r) })
		switch {
		case p == nil:
		case watched.used:
			panic(http.ErrAbortHandler)
		default:
			extendDeadline(w)
			http.Error(w, p.Error(), http.StatusInternalServerError)
		}
	})
}

// A watchedWriter notes whether the answer has begun, or the connection was given away.
type watchedWriter struct {
	http.ResponseWriter
	used bool
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.used = true
	return w.ResponseWriter.Write(b)
}

// WriteHeader leaves out the statuses before the answer, which another goroutine sends.
func (w *watchedWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.used = true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watchedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.used = w.used || err == nil
	return conn, buffered, err
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"sync/atomic"
	"testing"
	"time"
)

// frameSize is that of a usual 640x480 frame, in bytes.
const frameSize = 28 << 10

func BenchmarkPublish(b *testing.B) {
	s := newStream(1, thisHost.sockets)
	jpeg := testJPEG(frameSize+1024, 1)
	b.ReportAllocs()
	b.SetBytes(int64(len(jpeg)))
	for b.Loop() {
		publishJPEG(s, jpeg)
	}
}

// BenchmarkDeliver publishes a frame, waits until each client's socket has
// taken it, and publishes the next. One op is a frame to all of them.
func BenchmarkDeliver(b *testing.B) {
	for _, clients := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s, address := serveStream(b, clients)
			startViewers(b, address, clients)
			jpeg := testJPEG(frameSize+1024, 1)
			frames := uint32(0)
			deliver := func() {
				publishJPEG(s, jpeg)
				frames++
				awaitSent(s, frames)
			}
			eventually(b, "all viewers are there", func() bool { return len(s.state().List) == clients })
			for range 2 * maxFree {
				deliver()
			}
			b.ReportAllocs()
			b.SetBytes(int64(clients * len(jpeg)))
			for b.Loop() {
				deliver()
			}
		})
	}
}

// BenchmarkRound brings a frame to 40 clients whose sockets cost nothing: what is
// left is what it takes to wake whoever sends it, and to hand it out.
func BenchmarkRound(b *testing.B) {
	const clients = 40
	var sent atomic.Uint32
	all := make(chan bool, 1)
	sockets := thisHost.sockets
	sockets.send = func(_ uintptr, part []byte) (int, error) {
		if sent.Add(1)%clients == 0 {
			all <- true
		}
		return len(part), nil
	}
	s, address := serveStreamOn(b, clients, sockets)
	startViewers(b, address, clients)
	eventually(b, "all viewers are there", func() bool { return len(s.state().List) == clients })
	jpeg := testJPEG(frameSize+1024, 1)
	b.ReportAllocs()
	for b.Loop() {
		publishJPEG(s, jpeg)
		<-all
	}
}

// serveStream serves a stream without a camera on a loopback socket.
func serveStream(t testing.TB, maxViewers int) (s *stream, address string) {
	t.Helper()
	return serveStreamOn(t, maxViewers, thisHost.sockets)
}

// serveStreamOn is serveStream with other calls for sockets.
func serveStreamOn(t testing.TB, maxViewers int, sockets socketCalls) (s *stream, address string) {
	t.Helper()
	s = newStream(maxViewers, sockets)
	l, err := openListener(t.Context(), thisHost.listen, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logger := log.New(io.Discard, "", 0)
	web := newWebServer(context.Background(), newHandler(s, &supervisor{stream: s}), sockets, logger)
	go newLimitListener(l, s, thisHost.maxFiles, logger).serve(web, nil)
	t.Cleanup(func() {
		s.close(time.Second)
		web.Close()
	})
	return s, l.Addr().String()
}

// awaitSent waits until each client was sent n frames.
func awaitSent(s *stream, n uint32) {
	for {
		s.mu.RLock()
		waiting := false
		for c := range s.clients {
			if c.sent.Load() < n {
				waiting = true
				break
			}
		}
		s.mu.RUnlock()
		if !waiting {
			return
		}
		time.Sleep(20 * time.Microsecond)
	}
}

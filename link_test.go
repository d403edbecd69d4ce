package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"porthole/testdata/skip"
)

// Frames of two clients on one link take 11 and 224 ms. Each gets half of the time, in which
// the one that is near gets each frame of the camera.
func TestNearAndFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t)
		near, far := n.connect("192.0.2.1", 11*time.Millisecond), n.connect("192.0.2.1", 224*time.Millisecond)
		n.film(10 * time.Second)
		if frames := near.frames(); frames < 140 {
			t.Errorf("the near one got %d frames in 10 s, want half of 300", frames)
		}
		if frames := far.frames(); frames < 20 {
			t.Errorf("the far one got %d frames in 10 s, want 22: 5 s of 224 ms", frames)
		}
	})
}

// A client gets all that its link can take, however slow another link is.
func TestLinksAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t)
		alone := n.connect("192.0.2.1", 11*time.Millisecond)
		for range 4 {
			n.connect("192.0.2.2", 224*time.Millisecond)
		}
		n.film(10 * time.Second)
		if frames := alone.frames(); frames < 290 {
			t.Errorf("got %d frames of 300", frames)
		}
	})
}

// Clients that wait for their turns are soon gone when one hangs up, or the stream is closed.
func TestLeaveLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t)
		for range 9 {
			n.connect("192.0.2.1", 224*time.Millisecond)
		}
		n.film(5 * time.Second)
		n.conns[3].Close()
		n.film(maxTurn + queuePoll) // one turn
		if got := len(n.stream.state().List); got != 8 {
			t.Errorf("%d clients after one of 9 hung up and a turn ended, want 8", got)
		}
		before := n.conns[4].frames()
		n.film(5 * time.Second)
		if n.conns[4].frames() == before {
			t.Error("another got no frame after that")
		}
		start := time.Now()
		n.stream.close(time.Second)
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("the end took %v with 8 clients on a link", took)
		}
	})
}

// Clients get equal time, whatever their turns take. One that comes, or comes back, gets as
// much as the others, and no more.
func TestEqualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l link
		all := []*turnTaker{startTurns(t, &l, 10*time.Millisecond), startTurns(t, &l, 200*time.Millisecond)}
		expect := func(when string, want time.Duration) {
			t.Helper()
			for _, c := range all {
				c.used.Store(0)
			}
			time.Sleep(30 * time.Second)
			for i, c := range all {
				if got := time.Duration(c.used.Load()); (got - want).Abs() > maxTurn {
					t.Errorf("client %d used %v of 30 s %s, want %v", i, got, when, want)
				}
			}
		}
		expect("beside another", 15*time.Second)
		all = append(all, startTurns(t, &l, 50*time.Millisecond))
		expect("when a third came", 10*time.Second)
		all[2].paused.Store(true)
		time.Sleep(30 * time.Second)
		all[2].paused.Store(false)
		expect("when the third came back", 10*time.Second)
	})
}

// Addresses of one interface are one link, IPv4 and IPv6 alike.
func TestInterfaceAt(t *testing.T) {
	s := newStream(1, socketCalls{})
	for _, tt := range []struct {
		address net.Addr
		want    string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 5000}, "192.0.2.1:5000"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 5000, Zone: "wlan0"}, "wlan0"},
		{&net.UnixAddr{Name: "/run/porthole", Net: "unix"}, "/run/porthole"},
	} {
		if got := s.interfaceAt(tt.address); got != tt.want {
			t.Errorf("%v is at %s, want %s", tt.address, got, tt.want)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		skip.Test(t, "this system does not tell its interfaces: "+err.Error(), "run it on another")
	}
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() { // those have zones
				if got := s.interfaceAt(&net.TCPAddr{IP: n.IP}); got != i.Name {
					t.Errorf("%v is at %s, want %s", a, got, i.Name)
				}
			}
		}
	}
}

// Turns allocate nothing.
func TestTurnsDoNotAllocate(t *testing.T) {
	n := newFakeNetwork(t)
	for range 3 {
		n.connect("192.0.2.1", queuePoll)
	}
	publish := func() {
		publishJPEG(n.stream, n.jpeg)
		time.Sleep(10 * time.Millisecond)
	}
	for range 2 * maxFree {
		publish()
	}
	before := n.conns[0].frames()
	if n := testing.AllocsPerRun(100, publish); n != 0 {
		t.Errorf("%v allocations per frame for 3 clients on a slow link, want 0", n)
	}
	if n.conns[0].frames() == before {
		t.Error("no frame was sent")
	}
}

// A turnTaker is a client that always wants a turn, unless it is paused.
type turnTaker struct {
	client
	used   atomic.Int64 // nanoseconds
	paused atomic.Bool
}

// startTurns starts one whose turns are so long.
func startTurns(t *testing.T, l *link, long time.Duration) *turnTaker {
	c := &turnTaker{client: client{woken: make(chan struct{}, 1)}}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	running.Go(func() {
		for ; t.Context().Err() == nil; time.Sleep(time.Millisecond) {
			if c.paused.Load() {
				continue
			}
			l.acquire(&c.client)
			for t.Context().Err() == nil && !c.paused.Load() {
				time.Sleep(long)
				c.used.Add(int64(long))
				l.pass(&c.client, 0)
			}
			l.release(&c.client)
		}
	})
	return c
}

// A fakeNetwork has clients whose frames stay on their links for some time.
type fakeNetwork struct {
	stream *stream
	jpeg   []byte

	mu    sync.Mutex // protects the connections too
	conns []*fakeConn
}

// A fakeConn is a connection with a fake socket. Its number in the network is its file
// descriptor. It begins full, which makes its client a slow one.
type fakeConn struct {
	net.Conn // takes the head, and ends the client when it is closed
	network  *fakeNetwork
	local    net.Addr
	fd       uintptr
	takes    time.Duration // a frame

	full  bool
	until time.Time // when the last frame has left the board
	sent  int       // frames
}

func newFakeNetwork(t *testing.T) *fakeNetwork {
	n := &fakeNetwork{jpeg: testJPEG(frameSize+1024, 1)}
	n.stream = newStream(10, socketCalls{send: n.send, limitUnsent: func(uintptr) {}, isQueued: n.isQueued})
	go n.stream.repeat(t.Context())
	t.Cleanup(func() { n.stream.close(0) })
	return n
}

// connect adds a client that came to an address of this board.
func (n *fakeNetwork) connect(address string, takes time.Duration) *fakeConn {
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	n.mu.Lock()
	c := &fakeConn{Conn: near, network: n, local: &net.TCPAddr{IP: net.ParseIP(address)}, fd: uintptr(len(n.conns)), takes: takes, full: true}
	n.conns = append(n.conns, c)
	n.mu.Unlock()
	n.stream.addViewer()
	n.stream.addClient(c, streamHead(false, nil), 0)
	return c
}

// film publishes 30 pictures a second for some time.
func (n *fakeNetwork) film(long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(time.Second / 30) {
		publishJPEG(n.stream, n.jpeg)
	}
}

// send puts a frame on the link, behind the one that may be there.
func (n *fakeNetwork) send(fd uintptr, b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.conns[fd]
	if c.full {
		return 0, syscall.EAGAIN
	}
	if now := time.Now(); c.until.Before(now) {
		c.until = now
	}
	c.until = c.until.Add(c.takes)
	c.sent++
	return len(b), nil
}

func (n *fakeNetwork) isQueued(fd uintptr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Before(n.conns[fd].until)
}

// frames returns how many frames were sent.
func (c *fakeConn) frames() int {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	return c.sent
}

func (c *fakeConn) LocalAddr() net.Addr                   { return c.local }
func (c *fakeConn) SyscallConn() (syscall.RawConn, error) { return fakeSocket{c}, nil }

// A fakeSocket is what package net gives access to a socket with.
type fakeSocket struct{ c *fakeConn }

func (s fakeSocket) Control(f func(fd uintptr)) error { f(s.c.fd); return nil }
func (s fakeSocket) Read(func(fd uintptr) bool) error { return nil }
func (s fakeSocket) Write(f func(fd uintptr) bool) error {
	for !f(s.c.fd) {
		s.c.network.mu.Lock()
		s.c.full = false
		s.c.network.mu.Unlock()
	}
	return nil
}

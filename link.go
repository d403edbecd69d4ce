package main

import (
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// maxTurn is how long a slow client's frame may keep others from its link: 28 KB take
	// as long at 1 Mbit/s. queuePoll is how often the client checks whether it still does:
	// with 5 ms, a link of 50 Mbit/s was idle at times.
	maxTurn   = 250 * time.Millisecond
	queuePoll = 2 * time.Millisecond
)

// A link is an interface of this board that is too slow for some of its clients, such as a
// WiFi. They take turns, so that each frame goes at full speed: the frames of several clients
// would queue there and share the link. As many would get through, but each would take longer
// by the number of clients.
//
// Clients get equal time, not equally many frames: the frames of one that is far from a
// WiFi take longer than those of one that is near. This is start-time fair queueing (Goyal,
// Vin and Cheng, 1996): the client that has used the least time goes next, and one that comes
// starts with the time of the one whose turn it is. After a turn, a client asks for the next
// one before there is a frame for it, and may wait for that in its turn: see pass.
type link struct {
	name string // of the interface

	mu      sync.Mutex    // protects all of these, and linkTime of the clients
	busy    bool          // a client has its turn
	began   time.Time     // when that turn did
	virtual time.Duration // linkTime of that client then
	waiting []*client     // for their turns
}

// findLink returns the link of an interface: the one that its clients share, or a new one. So
// links end with their clients. s.mu is held.
func (s *stream) findLink(name string) *link {
	for c := range s.clients {
		if c.link.name == name {
			return c.link
		}
	}
	return &link{name: name}
}

// interfaceAt returns the name of the interface that has an address of this board. It is the
// address itself if none has, or it is that of a unix socket.
func (s *stream) interfaceAt(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	switch {
	case !ok:
		return a.String()
	case tcp.Zone != "":
		return tcp.Zone // several interfaces can have the same link-local address
	}
	if l := s.linkAt(tcp.IP); l != nil {
		return l.name
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, has := range addresses {
			if n, ok := has.(*net.IPNet); ok && n.IP.Equal(tcp.IP) {
				return i.Name
			}
		}
	}
	return a.String()
}

// linkAt returns the link of the clients that came to an address of this board; nil without
// any. To ask the system takes 0.2 ms and 38 KB on a PC.
func (s *stream) linkAt(ip net.IP) *link {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.clients {
		if tcp, ok := c.conn.LocalAddr().(*net.TCPAddr); ok && tcp.IP.Equal(ip) && tcp.Zone == "" {
			return c.link
		}
	}
	return nil
}

// acquire waits for a turn of c.
func (l *link) acquire(c *client) {
	l.mu.Lock()
	c.linkTime = max(c.linkTime, l.virtual)
	l.waiting = append(l.waiting, c)
	if !l.busy {
		l.begin()
	}
	l.mu.Unlock()
	<-c.woken
}

// pass ends c's turn and waits for its next one. That begins at once if c will have used less
// time than all who wait, also after it has waited for its next frame.
func (l *link) pass(c *client, wait time.Duration) {
	l.mu.Lock()
	l.charge(c)
	if len(l.waiting) > 0 && c.linkTime+wait > l.waiting[l.next()].linkTime {
		l.begin()
		l.waiting = append(l.waiting, c)
	} else {
		l.waiting = append(l.waiting, c)
		l.begin()
	}
	l.mu.Unlock()
	<-c.woken
}

// release ends c's turn.
func (l *link) release(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.charge(c)
	l.begin()
}

// charge counts the time of c's turn. mu is held.
func (l *link) charge(c *client) {
	c.linkTime += min(time.Since(l.began), maxTurn)
}

// wanted reports whether clients wait for their turns.
func (l *link) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0
}

// begin begins the turn of the client that goes next, if any waits. mu is held.
func (l *link) begin() {
	l.busy = len(l.waiting) > 0
	if l.busy {
		first := l.next()
		next := l.waiting[first]
		l.waiting = slices.Delete(l.waiting, first, first+1)
		l.began, l.virtual = time.Now(), max(l.virtual, next.linkTime)
		next.woken <- struct{}{}
	}
}

// next returns which of those that wait goes next. mu is held.
func (l *link) next() (first int) {
	for i, c := range l.waiting {
		if c.isGone() {
			c.linkTime = 0 // it only goes
		}
		if c.linkTime < l.waiting[first].linkTime {
			first = i
		}
	}
	return first
}

// sendInTurn sends frames while c has to take turns on its link, the newest one in each turn.
//
// Median ages (BenchmarkSlowLink, with cubic for congestion control) of one client's
// frames over 2 Mbit/s: 145 ms, and 200 without this; of three over 2 Mbit/s: 144 and
// 470; of four over 20 Mbit/s: 40 and 150.
func (c *client) sendInTurn() error {
	c.wait()
	c.link.acquire(c)
	defer c.link.release(c)
	for {
		if err := c.sendAlone(); err != nil || !c.keepsPlace() {
			return err
		}
		c.link.pass(c, c.frameWait())
		c.waitPublication()
		if !c.ready() {
			return nil
		}
	}
}

// sendAlone sends the newest frame, and returns when that has left the board, or maxTurn is
// over. That is at once if c is slow for another reason than its link.
func (c *client) sendAlone() error {
	if c.isGone() {
		return nil
	}
	c.slow = false
	err := c.send()
	for end := time.Now().Add(maxTurn); err == nil && c.stream.sockets.isQueued(c.fd) && time.Now().Before(end) && !c.isGone(); {
		c.slow = true
		time.Sleep(queuePoll)
	}
	return err
}

// keepsPlace reports whether c asks for its next turn before there is a frame for it, and
// may wait for that in its turn. Otherwise a client whose frames take little time would come
// too late each time: one whose frames take long would have the next turn already, and both
// would get equally many.
func (c *client) keepsPlace() bool {
	return c.slow && c.held == nil && c.spacing == 0 && !c.isGone() && c.link.wanted()
}

// frameWait returns how long it may be until there is a frame for c.
func (c *client) frameWait() time.Duration {
	if c.ready() {
		return 0
	}
	return c.stream.lastInterval()
}

// waitPublication waits for the next publication, unless there is a frame to send already.
func (c *client) waitPublication() {
	s := c.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	for seq := s.seq; seq == s.seq && !c.ready() && !c.isGone(); {
		s.cond.Wait()
	}
}

package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Chromium and WebKit paint a picture when the header of the next one arrives. So the
	// stream sends the last picture again if no new one follows it soon, and then once a
	// second, which also keeps proxies from giving up.
	repeatSoon  = 250 * time.Millisecond
	repeatLater = time.Second
)

// A stream sends a camera's frames to all viewers.
//
// There is one newest frame, and clients take it when they are ready for one. A slow client
// skips frames and never delays the camera or other clients.
type stream struct {
	latest atomic.Pointer[frame] // the newest, nil without one
	clock  atomic.Uint32         // microseconds, as of the last publication

	start      time.Time // what clock counts from
	maxViewers int       // viewers at a time
	sockets    socketCalls
	heldLimit  int // bytes of frames that clients may hold back
	panics     panicLog
	refusals   refusals

	// Those who publish, join or leave lock mu. Those who wait only lock it for reading, so
	// that N clients that were woken do not queue for it.
	mu           sync.RWMutex
	cond         sync.Cond     // L is mu.RLocker(): a publication, or a viewer more or less
	seq          uint32        // counts publications: repeats too, and the end
	number       uint32        // of the newest capture
	captured     time.Time     // when the newest good picture was
	interval     time.Duration // between the last two good ones in a row
	intervals    histogram     // all of these
	repeatAt     time.Time
	viewers      int       // clients, readers of the table and those who wait for a snapshot
	waiting      int       // those who wait for a snapshot
	idleSince    time.Time // when the last viewer left
	closed       bool
	clients      map[*client]struct{}
	snapshots    map[*http.ResponseController]uint32 // those being sent, and the number of the frame
	replaced     []replacedFrame                     // oldest first, of those that clients may hold back
	broadcasters []*broadcaster
	totals       totals
	rate         rate // of captured frames
	clientGroup  sync.WaitGroup

	freeMu sync.Mutex // protects free
	free   []*frame
}

// totals count since the start.
type totals struct {
	frames  uint64 // captured
	repeats uint64
	clients uint64
	sent    uint64 // frames, over all clients
	bytes   uint64 // sent, over all clients
}

func newStream(maxViewers int, sockets socketCalls) *stream {
	s := &stream{
		start:      time.Now(),
		maxViewers: maxViewers,
		sockets:    sockets,
		heldLimit:  maxHeld,
		panics:     panicLog{log: log.Default()},
		clients:    make(map[*client]struct{}),
		snapshots:  make(map[*http.ResponseController]uint32),
		free:       make([]*frame, 0, maxFree),
	}
	s.cond.L = s.mu.RLocker()
	for range runtime.GOMAXPROCS(0) {
		s.broadcasters = append(s.broadcasters, &broadcaster{stream: s})
	}
	return s
}

// publish makes f, with jpeg appended to its room, the newest frame.
func (s *stream) publish(f *frame, jpeg []byte, at time.Time) {
	s.setLatest(f, jpeg, at)
	s.cond.Broadcast() // without mu, or those who wake would wait for it
}

func (s *stream) setLatest(f *frame, jpeg []byte, at time.Time) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	s.seq++
	f.layOut(jpeg, at, s.number)
	f.seq.Store(s.seq)
	f.refs.Store(1) // the stream's own
	old := s.latest.Swap(f)
	s.updateClock(now)
	s.repeatAt = now.Add(repeatSoon)
	if f.settled {
		s.totals.frames++
		s.captured = at
		s.rate.count(s.clock.Load())
		if old != nil && old.settled {
			s.interval = at.Sub(old.at)
			s.intervals.count(s.interval)
		}
	}
	if old != nil {
		s.replace(old)
		s.limitHeld(f)
	}
}

// repeat publishes the newest frame again when that is due, and without one just wakes the
// clients, until ctx ends. It sleeps while nobody watches.
func (s *stream) repeat(ctx context.Context) {
	defer context.AfterFunc(ctx, s.wake)()
	timer := time.NewTimer(repeatSoon)
	defer timer.Stop()
	for s.waitViewer(ctx) {
		// A new frame moves repeatAt and wakes nobody here, so look often enough.
		timer.Reset(min(s.repeatIfDue(), repeatSoon))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// repeatIfDue returns how long it is until the next repeat.
func (s *stream) repeatIfDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if wait := s.repeatAt.Sub(now); wait > 0 {
		return wait
	}
	s.seq++
	if f := s.latest.Load(); f != nil {
		f.seq.Store(s.seq)
		s.totals.repeats++
	}
	s.updateClock(now)
	s.repeatAt = now.Add(repeatLater)
	s.cond.Broadcast()
	return repeatLater
}

// wakeClients wakes all clients, without a new frame or a repeated one.
func (s *stream) wakeClients() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.updateClock(time.Now())
	s.cond.Broadcast()
}

// updateClock sets the clock that clients use. Asking the system for the time is a
// system call on ARMv6, too expensive for each client and frame. mu is held.
func (s *stream) updateClock(now time.Time) {
	s.clock.Store(uint32(now.Sub(s.start).Microseconds()))
}

// newest returns the newest frame, acquired for the caller, or nil. It needs no lock: a
// frame that is released between Load and acquire has a successor.
func (s *stream) newest() *frame {
	for {
		f := s.latest.Load()
		if f == nil || f.acquire() {
			return f
		}
	}
}

// isSettled reports whether the newest frame is from a camera whose exposure has settled.
func (s *stream) isSettled() bool {
	f := s.newest()
	if f == nil {
		return false
	}
	defer f.release()
	return f.settled
}

// lastInterval returns the time between the last two pictures of the camera; 0 when
// there were none yet.
func (s *stream) lastInterval() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.interval
}

// dropLatest drops the newest frame, which would be too old for the next viewer, and the
// memory of those that are free.
func (s *stream) dropLatest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = rate{}
	if old := s.latest.Swap(nil); old != nil {
		s.replace(old)
	}
	s.dropFree()
}

// dropFree drops the memory of the frames that are free.
func (s *stream) dropFree() {
	s.freeMu.Lock()
	defer s.freeMu.Unlock()
	clear(s.free)
	s.free = s.free[:0]
}

// waitPublication waits for a publication after seq and notes it there. The caller
// wakes the stream when ctx ends; then it is false.
func (s *stream) waitPublication(ctx context.Context, seq *uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for s.seq == *seq && ctx.Err() == nil {
		s.cond.Wait()
	}
	*seq = s.seq
	return ctx.Err() == nil
}

// waitViewer waits for a viewer. It is false when ctx ends, if the caller wakes
// the stream then.
func (s *stream) waitViewer(ctx context.Context) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for s.viewers == 0 && ctx.Err() == nil {
		s.cond.Wait()
	}
	return ctx.Err() == nil
}

// isWatched reports whether there is a viewer.
func (s *stream) isWatched() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.viewers > 0
}

// idleTime returns for how long nobody has been watching.
func (s *stream) idleTime() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.viewers > 0 {
		return 0
	}
	return time.Since(s.idleSince)
}

// wake makes all who wait check again. It takes the lock, so that it cannot happen between
// a check and the wait after it.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

// addViewer counts a viewer in. It is false if there are maxViewers already, or the stream
// is closed.
func (s *stream) addViewer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.viewers >= s.maxViewers {
		s.refusals.viewers.Add(1)
		return false
	}
	s.viewers++
	now := time.Now()
	s.updateClock(now)
	if soon := now.Add(repeatSoon); soon.Before(s.repeatAt) {
		s.repeatAt = soon // for the first picture of the one who came
	}
	if s.viewers == 1 {
		s.cond.Broadcast()
	}
	return true
}

// errFull tells a viewer that was not counted in why.
func (s *stream) errFull() error {
	return fmt.Errorf("too many viewers: %d are watching already (see -max-clients)", s.maxViewers)
}

// clientCount returns the number of clients.
func (s *stream) clientCount() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.clients)
}

// removeViewer counts a viewer out.
func (s *stream) removeViewer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers--
	s.idleSince = time.Now()
}

// close ends every client, each after the frame that it is being sent if that takes no
// longer than grace.
func (s *stream) close(grace time.Duration) {
	s.endClients(grace)
	s.clientGroup.Wait()
}

func (s *stream) endClients(grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.seq++
	for c := range s.clients {
		c.end(grace)
	}
	s.cond.Broadcast()
}

// streamState is the stream's share of /state.
type streamState struct {
	FPS     float32       `json:"fps_measured"` // frames per second from the camera
	Frames  uint64        `json:"frames_captured"`
	Repeats uint64        `json:"frames_repeated"`
	Sent    uint64        `json:"frames_sent"` // to all clients, as of their last second
	Bytes   uint64        `json:"bytes_sent"`
	Clients uint64        `json:"clients_total"`
	Viewers int           `json:"viewers"` // clients, readers of the table and those who wait for a snapshot
	List    []clientState `json:"clients"`
	Uptime  float64       `json:"uptime_s"`
	Time    float64       `json:"time_s"` // by the clock of X-Timestamp, since 1970

	// For /metrics alone.
	captured  time.Time // when the newest picture was; zero before the first
	intervals histogram
}

// state returns how the stream and its clients are.
func (s *stream) state() streamState {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updateClock(now)
	s.rate.measure(s.clock.Load(), 3e6) // frames end it sooner, if they come
	st := streamState{
		FPS:     s.rate.hertz,
		Frames:  s.totals.frames,
		Repeats: s.totals.repeats,
		Sent:    s.totals.sent,
		Bytes:   s.totals.bytes,
		Clients: s.totals.clients,
		Viewers: s.viewers,
		Uptime:  now.Sub(s.start).Seconds(),
		Time:    float64(now.UnixMicro()) / 1e6,
		List:    make([]clientState, 0, len(s.clients)),

		captured:  s.captured,
		intervals: s.intervals,
	}
	for c := range s.clients {
		st.List = append(st.List, c.describe(now))
	}
	return st
}

// A broadcaster sends each new frame to its share of the clients: those whose sockets take
// it without waiting, which is nearly always so. A client whose socket is full goes back to
// its own goroutine, which waits for the socket, and returns to the broadcaster when it has
// caught up.
//
// This saves one wake-up and switch of a goroutine for each client and frame. Sending a
// frame to 40 clients whose sockets cost nothing takes 82 us on an emulated Pi Zero, and
// 368 us without broadcasters (BenchmarkRound). A stream has as many broadcasters as the
// program may use cores, and each of them runs while it has clients.
type broadcaster struct {
	stream   *stream
	seq      uint32 // of the publication it went round with last
	assigned int    // its share; stream.mu protects it
	running  bool   // stream.mu too

	mu      sync.Mutex // protects round, and the clients in there
	clients []*client  // those it serves: the others wait for their sockets
}

// assignBroadcaster gives a client to the broadcaster that has the fewest. s.mu is held.
func (s *stream) assignBroadcaster() *broadcaster {
	k := slices.MinFunc(s.broadcasters, func(a, b *broadcaster) int { return a.assigned - b.assigned })
	k.assigned++
	if !k.running {
		k.running = true
		go k.run()
	}
	return k
}

// run goes round at each publication, as long as there are clients.
func (b *broadcaster) run() {
	for b.wait() {
		b.mu.Lock()
		b.clients = slices.DeleteFunc(b.clients, (*client).sendOrReturn)
		b.mu.Unlock()
	}
}

// wait waits for a publication after the last one. It is false when there is
// no client left.
func (b *broadcaster) wait() bool {
	s := b.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	for b.seq == s.seq && b.assigned > 0 {
		s.cond.Wait()
	}
	b.seq = s.seq
	b.running = b.assigned > 0
	return b.running
}

// handle has the broadcaster send frames to c until c has to see to something
// itself. The caller is c's goroutine, which keeps the socket open meanwhile.
func (b *broadcaster) handle(c *client) {
	if b.add(c) {
		<-c.woken
		if c.failed != nil {
			panic(c.failed)
		}
	}
}

// add is false if c has to see to something at once. A frame that comes after
// the look finds c in the round.
func (b *broadcaster) add(c *client) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.state.Load() != stateOpen || c.ready() {
		return false
	}
	b.clients = append(b.clients, c)
	return true
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// minSnapshotTimeout is how long a snapshot may take, unless the camera is slow.
	// OctoPrint waits as long.
	minSnapshotTimeout = 5 * time.Second

	// maxSnapshotGap is the longest time between two snapshots for which the camera stays open.
	// Obico asks every 120 s, and not to the second.
	maxSnapshotGap = 150 * time.Second
)

// serveSnapshot sends one picture that was captured after the request came, or
// up to ?max_age=500ms before. With ?size=, it has that size.
func (v *server) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	query := r.URL.Query()
	age, err := parseAge(query.Get("max_age"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if size := query.Get("size"); size != "" {
		width, height, err := v.supervisor.snapshotSize(size)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !v.supervisor.hasSize(width, height) {
			v.serveStill(w, r, width, height)
			return
		}
	}
	if !v.addViewer(w) {
		return
	}
	defer v.stream.removeViewer()
	v.supervisor.noteSnapshot(start)
	ctx, end := untilHangup(r, func() error { return sendProcessing(w, r) })
	ctx, cancel := context.WithTimeout(ctx, v.snapshotTimeout())
	defer cancel()
	f, err := v.stream.frameAfter(ctx, start.Add(-age))
	if err == nil {
		defer f.release()
	}
	end()
	if err != nil {
		unavailable(w, v.whyNoPicture(time.Since(start)))
		return
	}
	v.sendSnapshot(w, f)
}

// unavailable says why what was asked for is not to be had now.
func unavailable(w http.ResponseWriter, why string) {
	extendDeadline(w)
	w.Header().Set("Retry-After", "5")
	http.Error(w, why, http.StatusServiceUnavailable)
}

// parseAge reads a ?max_age=: a duration, or a number of milliseconds; 0 without it.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		text += "ms"
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return 0, fmt.Errorf("max_age=%s: must be a duration like 500ms or 2s, or milliseconds", strings.TrimSuffix(text, "ms"))
	}
	return age, nil
}

// sendProcessing tells a client that its response takes time (102, RFC 2518, section 10.1).
// HTTP/1.0 has no way to say that. The server waits for such a client, there or not, until
// the snapshot comes or its time is over.
func sendProcessing(w http.ResponseWriter, r *http.Request) error {
	if !r.ProtoAtLeast(1, 1) {
		return nil
	}
	extendDeadline(w)
	w.WriteHeader(http.StatusProcessing)
	return nil
}

func (v *server) sendSnapshot(w http.ResponseWriter, f *frame) {
	setSnapshotHeader(w, f)
	w.Header().Set("X-Frame", strconv.FormatUint(uint64(f.number), 10))
	c := http.NewResponseController(w)
	v.stream.addSnapshot(c, f.number)
	defer v.stream.removeSnapshot(c)
	sendBody(w, f.jpeg)
}

func setSnapshotHeader(w http.ResponseWriter, f *frame) {
	h := w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("Content-Length", strconv.Itoa(len(f.jpeg)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Timestamp", string(appendSeconds(nil, f.at)))
}

// snapshotTimeout returns how long a snapshot may take. A picture of a slow camera
// is due within two of its intervals: as long as it promised, or took lately.
func (v *server) snapshotTimeout() time.Duration {
	promised := min(interval(v.supervisor.currentStatus().FPS), 30*time.Minute)
	return max(minSnapshotTimeout, 2*promised, 2*v.stream.lastInterval())
}

// whyNoPicture says why no picture came within a time.
func (v *server) whyNoPicture(waited time.Duration) string {
	if why := v.supervisor.currentStatus().Reason; why != "" {
		return why
	}
	return fmt.Sprintf("no picture from the camera within %v", waited.Round(time.Second/10))
}

// frameAfter waits for a good frame captured after t, or for the end of ctx, and
// returns it held.
func (s *stream) frameAfter(ctx context.Context, t time.Time) (*frame, error) {
	defer context.AfterFunc(ctx, s.wake)()
	s.addWaiting(1)
	defer s.addWaiting(-1)
	var seq uint32
	for s.waitPublication(ctx, &seq) {
		f := s.newest()
		if f == nil {
			continue
		}
		if f.settled && f.at.After(t) {
			return f, nil
		}
		f.release()
	}
	return nil, ctx.Err()
}

// addWaiting counts those who wait for a snapshot.
func (s *stream) addWaiting(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += n
}

// snapshotWaits reports whether somebody waits for a snapshot.
func (s *stream) snapshotWaits() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.waiting > 0
}

// noteSnapshot notes that somebody asks for a snapshot. With each one the longest gap counts a
// little less.
func (sv *supervisor) noteSnapshot(now time.Time) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	gap := now.Sub(sv.lastSnapshot)
	sv.lastSnapshot = now
	if gap > maxSnapshotGap {
		gap, sv.snapshotGap = 0, 0
	}
	sv.snapshotGap = max(gap, sv.snapshotGap-sv.snapshotGap/16)
}

// idleLimit returns how long nobody may have been watching until the camera is released. One that
// is asked for snapshots again and again stays open until the next.
func (sv *supervisor) idleLimit() time.Duration {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return max(sv.idle, sv.snapshotGap+sv.snapshotGap/4)
}

package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// refusals count what was refused since the start. They are with the stream, which all who
// refuse something know.
type refusals struct {
	viewers     atomic.Uint32 // more than there may be
	passwords   atomic.Uint32 // wrong
	guesses     atomic.Uint32 // more passwords than an address may try at a time
	hosts       atomic.Uint32 // names that may be a stranger's
	connections atomic.Uint32 // all were busy
	evictions   atomic.Uint32 // connections without a request that made room for others
}

// firstBound is the least bound of a histogram. The others are 2, 4, 8 times that and so on.
// No usual rate is near one: 120, 60, 30, 25, 20, 15, 10, 5, 2 or 1 a second.
const firstBound = 11 * time.Millisecond

// A histogram counts times between pictures. There is none of the age of frames when they are
// sent: that would need the time for each client and frame, and on ARMv6 to ask for it is a
// system call.
type histogram struct {
	counts [9]uint64 // by bound; the last is of those above all bounds
	sum    time.Duration
}

func (h *histogram) count(d time.Duration) {
	i := 0
	for bound := firstBound; d > bound && i < len(h.counts)-1; bound *= 2 {
		i++
	}
	h.counts[i]++
	h.sum += max(d, 0) // a driver's clock may go back, and the sum must not
}

// The metrics are in Prometheus' text format, version 0.0.4.
const (
	cameraMetrics = `# HELP porthole_camera_info The camera that was opened last.
# TYPE porthole_camera_info gauge
porthole_camera_info{camera="%s",driver="%s",device="%s",format="%s",encoder="%s",width="%d",height="%d"} 1
# HELP porthole_camera_mode 1 for the mode that the camera is in.
# TYPE porthole_camera_mode gauge
porthole_camera_mode{mode="idle"} %d
porthole_camera_mode{mode="starting"} %d
porthole_camera_mode{mode="live"} %d
porthole_camera_mode{mode="lost"} %d
# HELP porthole_camera_openings_total How often a camera was opened.
# TYPE porthole_camera_openings_total counter
porthole_camera_openings_total %d
# HELP porthole_frames_captured_total Pictures of the camera, once its exposure had settled.
# TYPE porthole_frames_captured_total counter
porthole_frames_captured_total %d
# HELP porthole_frames_damaged_total Damaged pictures of the camera, which were left out.
# TYPE porthole_frames_damaged_total counter
porthole_frames_damaged_total %d
# HELP porthole_frame_age_seconds Time since the newest picture was captured, NaN before the first.
# TYPE porthole_frame_age_seconds gauge
porthole_frame_age_seconds %v
# HELP porthole_frame_interval_seconds Time between two pictures in a row.
# TYPE porthole_frame_interval_seconds histogram
`

	// Uptime, and not the time of the start, which would be wrong on boards whose clock stands
	// still while they are off.
	streamMetrics = `# HELP porthole_build_info The version of porthole.
# TYPE porthole_build_info gauge
porthole_build_info{version="%s"} 1
# HELP porthole_uptime_seconds Time since the start.
# TYPE porthole_uptime_seconds gauge
porthole_uptime_seconds %v
# HELP porthole_viewers Clients of the stream, readers of the table and those who wait for a snapshot.
# TYPE porthole_viewers gauge
porthole_viewers %d
# HELP porthole_clients_total Clients of the stream that came.
# TYPE porthole_clients_total counter
porthole_clients_total %d
# HELP porthole_frames_sent_total Frames sent to all clients, as of their last second.
# TYPE porthole_frames_sent_total counter
porthole_frames_sent_total %d
# HELP porthole_sent_bytes_total Bytes sent to all clients, as of their last second.
# TYPE porthole_sent_bytes_total counter
porthole_sent_bytes_total %d
# HELP porthole_frames_repeated_total Frames published again because no new one came.
# TYPE porthole_frames_repeated_total counter
porthole_frames_repeated_total %d
`

	refusalMetrics = `# HELP porthole_requests_refused_total Requests with a wrong password, too many passwords, a strange host name, or of too many viewers.
# TYPE porthole_requests_refused_total counter
porthole_requests_refused_total{reason="password"} %d
porthole_requests_refused_total{reason="guesses"} %d
porthole_requests_refused_total{reason="host"} %d
porthole_requests_refused_total{reason="viewers"} %d
# HELP porthole_connections_refused_total Connections refused because all were busy.
# TYPE porthole_connections_refused_total counter
porthole_connections_refused_total %d
# HELP porthole_connections_evicted_total Connections without a request that made room for others.
# TYPE porthole_connections_evicted_total counter
porthole_connections_evicted_total %d
`
)

// serveMetrics is for Prometheus. It opens no camera and is no viewer.
func (v *server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	sendBody(w, v.metrics())
}

func (v *server) metrics() []byte {
	st, r := v.state(), &v.stream.refusals
	is := func(mode string) int {
		if st.Mode == mode {
			return 1
		}
		return 0
	}
	age := math.NaN()
	if !st.captured.IsZero() {
		age = time.Since(st.captured).Seconds()
	}
	escapes := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for _, label := range []*string{&st.Name, &st.Driver, &st.Device, &st.Format, &st.Encoder, &st.Version} {
		*label = escapes.Replace(*label)
	}
	b := fmt.Appendf(nil, cameraMetrics,
		st.Name, st.Driver, st.Device, st.Format, st.Encoder, st.Width, st.Height,
		is(modeIdle), is(modeStarting), is(modeLive), is(modeLost), st.Opened, st.Frames, st.Damaged, age)
	b = st.intervals.appendTo(b)
	b = fmt.Appendf(b, streamMetrics, st.Version, st.Uptime, st.Viewers, st.Clients, st.Sent, st.Bytes, st.Repeats)
	return fmt.Appendf(b, refusalMetrics, r.passwords.Load(), r.guesses.Load(), r.hosts.Load(), r.viewers.Load(),
		r.connections.Load(), r.evictions.Load())
}

func (h *histogram) appendTo(b []byte) []byte {
	const name = "porthole_frame_interval_seconds"
	n, bound := uint64(0), firstBound.Seconds()
	for _, count := range h.counts[:len(h.counts)-1] {
		n += count
		b = fmt.Appendf(b, name+"_bucket{le=\"%v\"} %d\n", bound, n)
		bound *= 2
	}
	n += h.counts[len(h.counts)-1]
	return fmt.Appendf(b, name+"_bucket{le=\"+Inf\"} %d\n"+name+"_sum %v\n"+name+"_count %[1]d\n", n, h.sum.Seconds())
}

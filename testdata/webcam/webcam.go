//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Bits of a payload's header (UVC 1.1, section 2.4.3.3).
const (
	frameID     = 0x01 // toggles with each frame
	endOfFrame  = 0x02
	streamError = 0x40
	endOfHeader = 0x80

	// No time stamps: then uvcvideo would want the number of the USB frame,
	// which vhci does not have.
	payloadHeader = 2 // bytes
)

// A webcam is the camera, plugged in or not.
type webcam struct {
	pictureSets map[string]map[size]pictureSet

	mu          sync.Mutex // protects all below
	link        *link      // nil when it is not plugged in
	isochronous bool       // when it is plugged in next
	controls    map[uint16]*control
	refusal     byte   // of the last request that was refused
	agreed      []byte // in the last probe or commit
	committed   mode   // none since it was plugged in: no frames per second
	faults      faults
	counts      counts
}

// counts are what status tells.
type counts struct {
	streaming bool
	mode      mode
	starts    int // of streaming
	frames    int // sent
	spoiled   int // of those: with a fault that makes a picture useless
}

// newWebcam makes a webcam. The pictures of one with a mark have other numbers.
func newWebcam(mark bool) *webcam {
	first := 0
	if mark {
		first = pictureCount
	}
	return &webcam{pictureSets: newPictureSets(first), controls: newControls()}
}

var (
	errPlugged   = errors.New("it is plugged in")
	errUnplugged = errors.New("it is not plugged in")
)

func (c *webcam) plug() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		return errPlugged
	}
	l, err := plugIn(c, c.isochronous)
	if err != nil {
		return err
	}
	c.link, c.committed = l, mode{}
	return nil
}

// unplug pulls the plug.
func (c *webcam) unplug() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return errUnplugged
	}
	c.link.cut()
	c.link = nil
	c.counts.streaming = false
	return nil
}

// start begins to stream what was committed; mu is held.
func (c *webcam) start(l *link) {
	c.counts.mode, c.counts.streaming = c.committed, true
	c.counts.starts++
	go c.stream(l, l.newSession(), c.committed)
}

// stop ends it; mu is held.
func (c *webcam) stop(l *link) {
	l.newSession()
	c.counts.streaming = false
}

// stream sends frames until the session ends.
func (c *webcam) stream(l *link, session int, m mode) {
	pictures := c.pictureSets[m.format][m.size]
	var f frame
	var id byte
	began := time.Now()
	due := began
	for {
		due = due.Add(c.frameTime(m))
		if late := time.Since(due); late > 0 {
			due = due.Add(late) // the host did not take the last one in time
		}
		time.Sleep(time.Until(due))
		if c.silent(began) {
			if !l.lasts(session) {
				return
			}
			continue
		}
		f = c.next(f.data[:0], &pictures, m)
		f.flags |= id
		if !sendFrame(l, session, f) {
			return
		}
		id ^= frameID
	}
}

// silent reports whether frames that begin now are not sent.
func (c *webcam) silent(began time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	startAfter := time.Duration(c.faults.startAfter) * time.Second
	return c.faults.stall || time.Since(began) < startAfter
}

// frameTime is how long a frame takes: what was negotiated, unless a command
// said otherwise.
func (c *webcam) frameTime(m mode) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	fps := m.fps
	if c.faults.fps > 0 {
		fps = c.faults.fps
	}
	return time.Second / time.Duration(fps)
}

// A frame is what the camera makes of a picture.
type frame struct {
	data    []byte
	flags   byte // in the header of its last payload
	lossy   bool // a packet of it gets lost, if it has packets
	spoiled bool // nobody could show it
}

// next returns the next frame, with the faults that are on. Its data are
// appended to b.
func (c *webcam) next(b []byte, pictures *pictureSet, m mode) frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.frames++
	f := c.faults.apply(b, pictures[c.counts.frames%pictureCount], m.format, c.counts.frames)
	if f.spoiled {
		c.counts.spoiled++
	}
	return f
}

// sendFrame sends a frame as one payload or several. It is false when the
// session has ended.
func sendFrame(l *link, session int, f frame) (ok bool) {
	payloads := f.payloads(l.maxPayload())
	if f.lossy && l.isochronous {
		payloads[len(payloads)/2] = nil
	}
	for len(payloads) > 0 {
		if payloads, ok = l.send(session, payloads); !ok {
			return false
		}
	}
	return true
}

// payloads cuts a frame into payloads of at most that many bytes, each with its header.
func (f frame) payloads(most int) [][]byte {
	var payloads [][]byte
	for data := f.data; ; {
		n := min(len(data), most-payloadHeader)
		last := n == len(data)
		header := []byte{payloadHeader, endOfHeader | f.flags&frameID}
		if last {
			header[1] |= endOfFrame | f.flags
		}
		payloads = append(payloads, slices.Concat(header, data[:n]))
		if last {
			return payloads
		}
		data = data[n:]
	}
}

// replug unplugs the camera and plugs it in again, several times. If somebody
// was watching, it waits each time until they have got some frames again; the
// longest that took is returned.
func (c *webcam) replug(times int) (slowest time.Duration, err error) {
	const patience = 20 * time.Second
	watched := c.status().streaming
	for range times {
		if err := c.unplug(); err != nil {
			return 0, err
		}
		time.Sleep(300 * time.Millisecond)
		began, frames := time.Now(), c.status().frames
		if err := c.plug(); err != nil {
			return 0, err
		}
		for watched && c.status().frames < frames+5 {
			if time.Since(began) > patience {
				return 0, fmt.Errorf("nobody takes frames %v after the replug", patience)
			}
			time.Sleep(20 * time.Millisecond)
		}
		slowest = max(slowest, time.Since(began))
	}
	return slowest, nil
}

func (c *webcam) status() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// loadable reports why no camera can be plugged in here.
func loadable() error {
	if _, err := os.Stat(vhci + "attach"); err != nil {
		return fmt.Errorf("%w: is the kernel module vhci-hcd loaded?", err)
	}
	return nil
}

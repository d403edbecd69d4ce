//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The kernel's virtual host controller, vhci-hcd, hands the transfers (URBs)
// of a device to whoever holds the other end of a socket. What goes over it is
// in Documentation/usb/usbip_protocol.rst: messages with a header of 48 bytes,
// all numbers big endian.
const (
	cmdSubmit = 1
	cmdUnlink = 2
	retSubmit = 3
	retUnlink = 4

	headerSize = 48 // bytes

	directionIn = 1 // from the device to the host

	vhci      = "/sys/devices/platform/vhci_hcd.0/"
	deviceID  = 1<<16 | 2 // bus 1, device 2: any will do
	highSpeed = 3         // USB_SPEED_HIGH in include/uapi/linux/usb/ch9.h

	maxTransfer = 1 << 20 // bytes; no sane URB is longer
)

// Why a control transfer fails, as the host sees it.
const (
	// A device's "I can't do that": the STALL handshake (USB 2.0, section
	// 8.4.5).
	errStall = unix.EPIPE

	// What a host controller makes of a transfer that there is no room for
	// on the bus. No device says so, but vhci passes it on.
	errNoBandwidth = unix.ENOSPC
)

// A setup is what a control transfer begins with (USB 2.0, section 9.3).
type setup struct {
	kind    byte // bmRequestType
	request byte
	value   uint16
	index   uint16
	length  uint16 // bytes, at most, of the data that follows
}

// A device answers control transfers, one at a time. Out is what the host
// sends along; what the host asked for is returned, or else an errno.
type device interface {
	control(l *link, s setup, out []byte) (in []byte, errno unix.Errno)
}

// A link is the cable between a device and the virtual host controller.
type link struct {
	conn        io.ReadWriteCloser
	device      device
	isochronous bool // the streaming endpoint is, or else bulk

	// mu keeps things in order: vhci drops a device that answers an URB
	// after it has confirmed that the URB was unlinked.
	mu      sync.Mutex
	arrived sync.Cond // L is &mu: a URB is waiting, or the session changed
	waiting []urb     // transfers from the streaming endpoint, oldest first
	session int       // counts the starts and ends of streaming
	out     []byte    // the message being written
}

// An urb is a transfer that waits for its answer.
type urb struct {
	number  uint32
	length  int      // bytes, at most
	packets []packet // if it is isochronous
}

// plugIn attaches a device to a free port of the virtual host controller.
func plugIn(d device, isochronous bool) (*link, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ends[1]) // the kernel has its own reference by then
	unix.SetNonblock(ends[0], true)
	conn := os.NewFile(uintptr(ends[0]), "usbip") // waits with the runtime's poller
	if err := attach(ends[1]); err != nil {
		conn.Close()
		return nil, err
	}
	l := newLink(conn, d, isochronous)
	go l.serve()
	return l, nil
}

// attach hands one end of a socket to the first port that takes it: the write
// to vhci's file attach is "port socket device speed".
func attach(fd int) error {
	status, err := os.ReadFile(vhci + "status")
	if err != nil {
		return err
	}
	err = errors.New("vhci-hcd has no free port")
	for line := range strings.Lines(string(status)) {
		var hub string
		var port, state int
		fmt.Sscanf(line, "%s %d %d", &hub, &port, &state)
		if hub != "hs" || state != 4 { // VDEV_ST_NULL: nothing there
			continue
		}
		order := fmt.Sprintf("%d %d %d %d", port, fd, deviceID, highSpeed)
		if err = os.WriteFile(vhci+"attach", []byte(order), 0); err == nil {
			return nil
		}
	}
	return err
}

func newLink(conn io.ReadWriteCloser, d device, isochronous bool) *link {
	l := &link{conn: conn, device: d, isochronous: isochronous}
	l.arrived.L = &l.mu
	return l
}

// cut pulls the plug.
func (l *link) cut() {
	l.conn.Close()
	l.newSession()
}

// newSession ends the streaming that goes on. It returns the number of the
// session that may begin now.
func (l *link) newSession() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session++
	l.arrived.Broadcast()
	return l.session
}

// lasts reports whether the session goes on.
func (l *link) lasts(session int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session == session
}

// serve reads what the host wants until the link is cut.
func (l *link) serve() error {
	r := bufio.NewReader(l.conn)
	var h [headerSize]byte
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return err
		}
		if err := l.handle(&h, r); err != nil {
			l.cut()
			return err
		}
	}
}

// handle handles one message; what follows its header comes from r.
func (l *link) handle(h *[headerSize]byte, r io.Reader) error {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(h[4*i:]) }
	command, number, direction, endpoint := word(0), word(1), word(3), word(4)
	if command == cmdUnlink {
		return l.unlink(number, word(5))
	}
	u := urb{number: number, length: int(word(6))}
	if command != cmdSubmit || u.length > maxTransfer {
		return fmt.Errorf("a message that no kernel would send: % x", *h)
	}
	var out []byte
	if direction != directionIn {
		out = make([]byte, u.length)
		if _, err := io.ReadFull(r, out); err != nil {
			return err
		}
	}
	var err error
	if u.packets, err = readPackets(r, word(8)); err != nil {
		return err
	}
	switch {
	case endpoint == 0:
		s := setup{
			kind:    h[40],
			request: h[41],
			value:   binary.LittleEndian.Uint16(h[42:]),
			index:   binary.LittleEndian.Uint16(h[44:]),
			length:  binary.LittleEndian.Uint16(h[46:]),
		}
		in, errno := l.device.control(l, s, out)
		if direction != directionIn {
			return l.answer(u, errno, nil, len(out))
		}
		in = in[:min(len(in), u.length)]
		return l.answer(u, errno, in, len(in))
	case endpoint == streamEndpoint&0xf && direction == directionIn:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting = append(l.waiting, u)
		l.arrived.Signal()
		return nil
	}
	return l.answer(u, errStall, nil, 0)
}

// send answers the oldest URB that waits at the streaming endpoint, as soon as
// there is one: with one payload, or one in each packet. It returns those that
// are left; ok is false when the session has ended.
func (l *link) send(session int, payloads [][]byte) (rest [][]byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.session == session && len(l.waiting) == 0 {
		l.arrived.Wait()
	}
	if l.session != session {
		return nil, false
	}
	u := l.waiting[0]
	l.waiting = l.waiting[1:]
	if u.packets != nil {
		n := min(len(payloads), len(u.packets))
		return payloads[n:], l.writePackets(u, payloads[:n]) == nil
	}
	var errno unix.Errno
	payload := payloads[0]
	if len(payload) > u.length {
		errno, payload = unix.EOVERFLOW, payload[:u.length]
	}
	return payloads[1:], l.write(retSubmit, u.number, errno, payload, len(payload)) == nil
}

// answer ends a control transfer.
func (l *link) answer(u urb, errno unix.Errno, in []byte, length int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errno != 0 {
		return l.write(retSubmit, u.number, errno, nil, 0)
	}
	return l.write(retSubmit, u.number, 0, in, length)
}

// unlink takes back an URB. Its own status says whether it was still there.
func (l *link) unlink(number, victim uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, u := range l.waiting {
		if u.number == victim {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
			return l.write(retUnlink, number, unix.ECONNRESET, nil, 0)
		}
	}
	return l.write(retUnlink, number, 0, nil, 0)
}

// write writes a message with its data. The caller holds mu.
func (l *link) write(command, number uint32, errno unix.Errno, data []byte, length int) error {
	l.out = appendHeader(l.out[:0], command, number, 0, 0, 0, uint32(-int32(errno)), uint32(length))
	l.out = append(l.out, data...)
	_, err := l.conn.Write(l.out)
	return err
}

// appendHeader appends the header that begins with these words; the others are 0.
func appendHeader(b []byte, words ...uint32) []byte {
	var h [headerSize]byte
	for i, word := range words {
		binary.BigEndian.PutUint32(h[4*i:], word)
	}
	return append(b, h[:]...)
}

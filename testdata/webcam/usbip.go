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

// errStall is a device's "I can't do that": the STALL handshake (USB 2.0,
// section 8.4.5), which the host sees as EPIPE.
var errStall = errors.New("stall")

// A setup is what a control transfer begins with (USB 2.0, section 9.3).
type setup struct {
	kind    byte // bmRequestType
	request byte
	value   uint16
	index   uint16
	length  uint16 // bytes, at most, of the data that follows
}

// A device answers control transfers, one at a time. Out is what the host
// sends along; what the host asked for is returned.
type device interface {
	control(l *link, s setup, out []byte) (in []byte, err error)
}

// A link is the cable between a device and the virtual host controller.
type link struct {
	conn   io.ReadWriteCloser
	device device

	// mu keeps things in order: vhci drops a device that answers an URB
	// after it has confirmed that the URB was unlinked.
	mu      sync.Mutex
	arrived sync.Cond // L is &mu: a URB is waiting, or the session changed
	waiting []urb     // transfers from the streaming endpoint, oldest first
	session int       // counts the starts and ends of streaming
	out     []byte    // the message being written
}

// An urb is a transfer that is to be answered.
type urb struct {
	number uint32
	length int // bytes, at most
}

// plugIn attaches a device to a free port of the virtual host controller.
func plugIn(d device) (*link, error) {
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
	l := newLink(conn, d)
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

func newLink(conn io.ReadWriteCloser, d device) *link {
	l := &link{conn: conn, device: d}
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
	u := urb{number, int(word(6))}
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
	switch {
	case endpoint == 0:
		s := setup{
			kind:    h[40],
			request: h[41],
			value:   binary.LittleEndian.Uint16(h[42:]),
			index:   binary.LittleEndian.Uint16(h[44:]),
			length:  binary.LittleEndian.Uint16(h[46:]),
		}
		in, err := l.device.control(l, s, out)
		if direction != directionIn {
			return l.answer(u, err, nil, len(out))
		}
		in = in[:min(len(in), u.length)]
		return l.answer(u, err, in, len(in))
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
// there is one. It is false when the session has ended.
func (l *link) send(session int, payload []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.session == session && len(l.waiting) == 0 {
		l.arrived.Wait()
	}
	if l.session != session {
		return false
	}
	u := l.waiting[0]
	l.waiting = l.waiting[1:]
	status := int32(0)
	if len(payload) > u.length {
		status, payload = -int32(unix.EOVERFLOW), payload[:u.length]
	}
	return l.write(retSubmit, u.number, status, payload, len(payload)) == nil
}

// answer ends a control transfer.
func (l *link) answer(u urb, err error, in []byte, length int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return l.write(retSubmit, u.number, -int32(unix.EPIPE), nil, 0)
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
			return l.write(retUnlink, number, -int32(unix.ECONNRESET), nil, 0)
		}
	}
	return l.write(retUnlink, number, 0, nil, 0)
}

// write writes a message with its data. The caller holds mu.
func (l *link) write(command, number uint32, status int32, data []byte, length int) error {
	m := append(l.out[:0], make([]byte, headerSize)...)
	for i, word := range []uint32{command, number, 0, 0, 0, uint32(status), uint32(length)} {
		binary.BigEndian.PutUint32(m[4*i:], word)
	}
	l.out = append(m, data...)
	_, err := l.conn.Write(l.out)
	return err
}

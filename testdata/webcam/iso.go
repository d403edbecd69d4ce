//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Most cameras stream isochronously: the host reserves room for a packet in
// each microframe, 125 us, and what gets lost is not sent again. The streaming
// interface has an alternate setting for that; in setting 0 it is quiet (UVC
// 1.1, section 2.4.3).
const (
	streamingAlternate = 1

	// isoPayload is how much of a frame goes into a packet, with its header.
	// That makes 8 MB/s, ten times what MJPG takes.
	isoPayload = 1024 // bytes

	maxPackets = 1024 // in an URB: USBIP_MAX_ISO_PACKETS
)

// A packet is one of an isochronous URB. This is how messages describe it,
// behind all data: struct usbip_iso_packet_descriptor of
// drivers/usb/usbip/usbip_common.h.
type packet struct {
	Offset uint32 // bytes, in the host's buffer
	Length uint32 // bytes, at most
	Actual uint32 // bytes
	Status int32  // 0, or the negative of an errno
}

// readPackets reads as many descriptors as the header of a message says. It
// says 0, or all ones, if the URB is not isochronous.
func readPackets(r io.Reader, count uint32) ([]packet, error) {
	if count == 0 || count == 0xffffffff {
		return nil, nil
	}
	if count > maxPackets {
		return nil, fmt.Errorf("an URB of %d packets, which no kernel would send", count)
	}
	packets := make([]packet, count)
	return packets, binary.Read(r, binary.BigEndian, packets)
}

// writePackets answers an isochronous URB, with a payload in each packet until
// there are no more. Nil is one that got lost on the way. In the message, the
// data of the packets follow each other without gaps. The caller holds mu.
func (l *link) writePackets(u urb, payloads [][]byte) error {
	length, lost := 0, uint32(0)
	for i := range u.packets {
		// What the host sent may still say how it went the last time.
		p := &u.packets[i]
		p.Actual, p.Status = 0, 0
		if i >= len(payloads) {
			continue
		}
		p.Actual = uint32(len(payloads[i]))
		if payloads[i] == nil {
			p.Status = -int32(unix.EPROTO) // as dwc2 says it, the driver of the Zero's port
			lost++
		}
		length += len(payloads[i])
	}
	m := appendHeader(l.out[:0], retSubmit, u.number, 0, 0, 0, 0, uint32(length), 0, uint32(len(u.packets)), lost)
	for _, payload := range payloads {
		m = append(m, payload...)
	}
	m, err := binary.Append(m, binary.BigEndian, u.packets)
	if err != nil {
		return err
	}
	l.out = m
	_, err = l.conn.Write(m)
	return err
}

// maxPayload returns how long a payload may be, in bytes.
func (l *link) maxPayload() int {
	if l.isochronous {
		return isoPayload
	}
	return bulkPayload
}

// setAlternate starts to stream, or stops, by the alternate setting of the
// streaming interface (UVC 1.1, section 4.3.1.1); mu is held.
func (c *webcam) setAlternate(l *link, alternate uint16) unix.Errno {
	switch {
	case alternate == 0:
		c.stop(l)
	case alternate != streamingAlternate || c.committed.fps == 0:
		return errStall
	case c.faults.noBandwidth:
		return errNoBandwidth
	default:
		c.start(l)
	}
	return 0
}

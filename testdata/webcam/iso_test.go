//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// setAlternate makes the request SET_INTERFACE of the streaming interface.
func (h *host) setAlternate(alternate uint16) (status int32) {
	h.t.Helper()
	_, status = h.control(kindInterface, setInterface, alternate, streamingInterface, nil)
	return status
}

// isochronous makes an isochronous transfer. What went before is in the
// descriptors that it sends.
func (h *host) isochronous(packets int) (data []byte, descriptors []packet) {
	h.t.Helper()
	descriptors = make([]packet, packets)
	for i := range descriptors {
		descriptors[i] = packet{uint32(i * isoPayload), isoPayload, 77, -int32(unix.EXDEV)}
	}
	out, _ := binary.Append(nil, binary.BigEndian, descriptors)
	length := uint32(packets * isoPayload)
	h.send(cmdSubmit, []uint32{directionIn, streamEndpoint & 0xf, 0, length, 0, uint32(packets), 1}, nil, out)
	_, number, status, data := h.receive(true)
	if number != h.number || status != 0 {
		h.t.Fatalf("URB %d, want %d: status %d", number, h.number, status)
	}
	if err := binary.Read(h.conn, binary.BigEndian, descriptors); err != nil {
		h.t.Fatal(err)
	}
	return data, descriptors
}

func TestIsochronous(t *testing.T) {
	h, c := connect(t, true)
	picture := appendNoise(nil, 2*isoPayload, 1) // three payloads
	c.pictureSets["MJPG"][size{640, 480}] = pictureSet(slices.Repeat([][]byte{picture}, pictureCount))
	if status := h.setAlternate(1); status != -int32(unix.EPIPE) {
		t.Errorf("streaming before commit: status %d", status)
	}
	h.control(kindVideo, setCur, commitSelect<<8, streamingInterface, make([]byte, negotiationSize))
	if c.status().streaming {
		t.Error("commit began to stream")
	}
	c.answer("bandwidth off")
	if status := h.setAlternate(1); status != -int32(unix.ENOSPC) {
		t.Errorf("without bandwidth: status %d", status)
	}
	c.answer("bandwidth on")
	if status := h.setAlternate(1); status != 0 || !c.status().streaming {
		t.Fatalf("with bandwidth: status %d, %v", status, c.status())
	}

	// A frame in two URBs: where its data are and what is left of the second.
	data, descriptors := h.isochronous(2)
	rest, second := h.isochronous(2)
	want := []packet{{0, isoPayload, isoPayload, 0}, {isoPayload, isoPayload, isoPayload, 0}}
	if !slices.Equal(descriptors, want) {
		t.Errorf("packets %v, want %v", descriptors, want)
	}
	left := uint32(len(picture) - 2*isoPayload + 3*payloadHeader)
	want = []packet{{0, isoPayload, left, 0}, {isoPayload, isoPayload, 0, 0}}
	if !slices.Equal(second, want) {
		t.Errorf("packets %v, want %v", second, want)
	}
	var frame []byte
	for payload := range slices.Chunk(append(data, rest...), isoPayload) {
		frame = append(frame, payload[payloadHeader:]...)
	}
	if !bytes.Equal(frame, picture) || data[1]&endOfFrame != 0 || rest[1]&endOfFrame == 0 {
		t.Errorf("a frame of %d bytes is not the picture of %d", len(frame), len(picture))
	}

	if status := h.setAlternate(0); status != 0 || c.status().streaming {
		t.Errorf("setting 0: status %d, %v", status, c.status())
	}
	c.answer("lose 1")
	h.setAlternate(1)
	data, descriptors = h.isochronous(4)
	want = []packet{{0, isoPayload, isoPayload, 0}, {isoPayload, isoPayload, 0, -int32(unix.EPROTO)},
		{2 * isoPayload, isoPayload, left, 0}, {3 * isoPayload, isoPayload, 0, 0}}
	if !slices.Equal(descriptors, want) || len(data) != isoPayload+int(left) {
		t.Errorf("%d bytes, packets %v, want %v", len(data), descriptors, want)
	}
}

// No host can have the camera make room for whatever it says.
func TestReadPackets(t *testing.T) {
	for _, count := range []uint32{0, 0xffffffff} {
		if packets, err := readPackets(nil, count); packets != nil || err != nil {
			t.Errorf("%#x packets: %v, %v", count, packets, err)
		}
	}
	if _, err := readPackets(bytes.NewReader(nil), maxPackets+1); err == nil || err == io.EOF {
		t.Errorf("too many packets: %v", err)
	}
}

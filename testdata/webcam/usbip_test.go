//go:build linux

package main

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A host is the kernel's end of a link.
type host struct {
	t      *testing.T
	conn   net.Conn
	number uint32 // of the last message
}

// connect plugs a webcam without pictures into a host.
func connect(t *testing.T, isochronous bool) (*host, *webcam) {
	ours, theirs := net.Pipe()
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	c := &webcam{controls: newControls()}
	c.pictureSets = map[string]map[size]pictureSet{"MJPG": {{640, 480}: {}, {320, 240}: {}}}
	c.link = newLink(theirs, c, isochronous)
	go c.link.serve()
	t.Cleanup(func() { c.unplug() })
	return &host{t: t, conn: ours}, c
}

// send sends a message: the words of its header after the number, then data.
func (h *host) send(command uint32, words []uint32, setup, out []byte) {
	h.t.Helper()
	h.number++
	m := make([]byte, headerSize)
	for i, word := range append([]uint32{command, h.number, deviceID}, words...) {
		binary.BigEndian.PutUint32(m[4*i:], word)
	}
	copy(m[40:], setup)
	if _, err := h.conn.Write(append(m, out...)); err != nil {
		h.t.Fatal(err)
	}
}

// receive reads an answer that brings data, or none when in is false.
func (h *host) receive(in bool) (command, number uint32, status int32, data []byte) {
	h.t.Helper()
	m := make([]byte, headerSize)
	if _, err := io.ReadFull(h.conn, m); err != nil {
		h.t.Fatal(err)
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(m[4*i:]) }
	if in && word(0) == retSubmit {
		data = make([]byte, word(6))
		if _, err := io.ReadFull(h.conn, data); err != nil {
			h.t.Fatal(err)
		}
	}
	return word(0), word(1), int32(word(5)), data
}

// control makes a control transfer: with out it sends that, else it asks.
func (h *host) control(kind, request byte, value, index uint16, out []byte) ([]byte, int32) {
	h.t.Helper()
	length, direction := uint32(255), uint32(directionIn)
	if kind&fromDevice == 0 {
		length, direction = uint32(len(out)), 0
	}
	setup := []byte{kind, request, byte(value), byte(value >> 8), byte(index), byte(index >> 8), byte(length), byte(length >> 8)}
	h.send(cmdSubmit, []uint32{direction, 0, 0, length}, setup, out)
	_, _, status, data := h.receive(direction == directionIn)
	return data, status
}

func TestLengths(t *testing.T) {
	for _, isochronous := range []bool{false, true} {
		d := describeConfiguration(isochronous)
		if got, want := int(d[2])|int(d[3])<<8, len(d); got != want {
			t.Errorf("wTotalLength is %d, want %d", got, want)
		}
		for len(d) > 0 {
			if d[0] < 2 || int(d[0]) > len(d) {
				t.Fatalf("a descriptor says that it has %d bytes, and there are %d left", d[0], len(d))
			}
			d = d[d[0]:]
		}
	}
}

func TestControls(t *testing.T) {
	h, _ := connect(t, false)
	if d, _ := h.control(0x80, getDescriptor, typeDevice<<8, 0, nil); len(d) != 18 {
		t.Errorf("device descriptor: % x", d)
	}
	const wIndexCamera = cameraTerminal << 8
	if _, status := h.control(0x21, setCur, 0x0400, wIndexCamera, []byte{1, 0, 0, 0}); status != -int32(unix.EPIPE) {
		t.Errorf("exposure time while it is automatic: status %d, want %d", status, -int32(unix.EPIPE))
	}
	if why, _ := h.control(0xa1, getCur, errorCodeSelect<<8, 0, nil); len(why) != 1 || why[0] != wrongState {
		t.Errorf("error code % x, want %x", why, wrongState)
	}
	if _, status := h.control(0x21, setCur, 0x0200, wIndexCamera, []byte{manualExposure}); status != 0 {
		t.Errorf("manual exposure: status %d", status)
	}
	if _, status := h.control(0x21, setCur, 0x0400, wIndexCamera, []byte{1, 0, 0, 0}); status != 0 {
		t.Errorf("exposure time: status %d", status)
	}
}

// An URB that waits for a frame is taken back once, and then never answered.
func TestStreaming(t *testing.T) {
	h, c := connect(t, false)
	want, _ := c.negotiate(c.link, nil)
	if _, status := h.control(0x21, setCur, commitSelect<<8, streamingInterface, want); status != 0 {
		t.Fatalf("commit: status %d", status)
	}
	var flags []byte
	for range 2 {
		h.send(cmdSubmit, []uint32{directionIn, streamEndpoint & 0xf, 0, bulkPayload}, nil, nil)
		_, number, status, payload := h.receive(true)
		if number != h.number || status != 0 || len(payload) != payloadHeader {
			t.Fatalf("URB %d: status %d, % x", number, status, payload)
		}
		flags = append(flags, payload[1])
	}
	if flags[0]^flags[1] != frameID || flags[0]&endOfFrame == 0 {
		t.Errorf("header flags % x", flags)
	}

	c.answer("stall on")
	time.Sleep(time.Second) // the frame under way would take the URB
	h.send(cmdSubmit, []uint32{directionIn, streamEndpoint & 0xf, 0, bulkPayload}, nil, nil)
	victim := h.number
	for _, want := range []int32{-int32(unix.ECONNRESET), 0} {
		h.send(cmdUnlink, []uint32{0, 0, victim}, nil, nil)
		if command, _, status, _ := h.receive(false); command != retUnlink || status != want {
			t.Errorf("unlink: answer %d, status %d, want %d", command, status, want)
		}
	}
	if _, status := h.control(0x02, clearFeature, 0, streamEndpoint, nil); status != 0 || c.status().streaming {
		t.Errorf("clear halt: status %d, %v", status, c.status())
	}
}

func TestRefuseFormat(t *testing.T) {
	h, c := connect(t, false)
	c.answer("refuse-format MJPG")
	for i, want := range []int32{-int32(unix.EPIPE), 0} { // formats[i]
		proposal := make([]byte, negotiationSize)
		proposal[formatAt] = byte(i + 1)
		if _, status := h.control(0x21, setCur, probeSelect<<8, streamingInterface, proposal); status != want {
			t.Errorf("%s: status %d, want %d", formats[i].name, status, want)
		}
	}
}

// A camera that starts late is silent that long, each time that it starts.
func TestStartAfter(t *testing.T) {
	c := new(webcam)
	long, lately := time.Now().Add(-5*time.Second), time.Now().Add(-3*time.Second)
	for command, want := range map[string]bool{"start-after 4": true, "start-after 0": false, "normal": false} {
		c.answer(command)
		if got := c.silent(lately); got != want {
			t.Errorf("%s: 3 s after the start it is silent: %v, want %v", command, got, want)
		}
		if c.silent(long) {
			t.Errorf("%s: 5 s after the start it is silent", command)
		}
	}
}

func TestFaults(t *testing.T) {
	picture := encode(drawPicture(size{64, 64}, 3), "MJPG")
	for command, want := range map[string]int{
		"normal":      len(picture),
		"dht off":     len(picture) - len("\xff\xc4") - 0x1a2,
		"truncate 1":  len(picture) / 2,
		"truncate 2":  len(picture),
		"empty 1":     0,
		"stub 1":      4,
		"garbage 1":   len(picture),
		"pad 100":     len(picture) + 100,
		"junk 100":    len(picture) + 100,
		"refuse 1x1":  len(picture),
		"truncate -1": len(picture),
	} {
		var f faults
		if err := f.set(command); err != nil && command != "truncate -1" {
			t.Errorf("%s: %v", command, err)
		}
		if got := len(f.apply(nil, picture, "MJPG", 1).data); got != want {
			t.Errorf("%s: %d bytes, want %d", command, got, want)
		}
	}
	if (new(faults)).set("nonsense") == nil || (new(faults)).set("dht maybe") == nil {
		t.Error("nonsense was taken for a command")
	}
}

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// faults are the faults of the camera. Most are a number n: every nth frame has the
// fault; 0 is none.
type faults struct {
	noTables      bool   // Huffman tables are left out, as by many cameras
	truncate      int    // cut in half
	error         int    // marked as damaged, which it is not
	empty         int    // no data at all
	stub          int    // start and end of a JPEG, and nothing between
	garbage       int    // noise, that does not start as a JPEG
	lose          int    // without one of its packets
	zeros         int    // bytes behind each frame
	noise         int    // bytes behind each frame
	stall         bool   // no frames, and no word of it
	startAfter    int    // seconds from the start of streaming to the first frame
	fps           int    // frames per second; 0: as negotiated
	refused       size   // a size that is offered but not granted
	refusedFormat string // a format that is offered, and an error when it is asked for
	stamped       bool   // no fault: each JPEG says when it was sent
	noBandwidth   bool   // others have all that the bus has for isochronous packets

	mangled map[string]int // every nth JPEG, by the name of the mangler
}

// set sets a fault as a command says.
func (f *faults) set(command string) (err error) {
	words := strings.Fields(command)
	if len(words) == 1 && words[0] == "normal" {
		*f = faults{}
		return nil
	}
	if len(words) != 2 {
		return errors.New("unknown command")
	}
	switch name, value := words[0], words[1]; name {
	case "dht":
		f.noTables, err = parseSwitch(value)
		f.noTables = !f.noTables
	case "bandwidth":
		f.noBandwidth, err = parseSwitch(value)
		f.noBandwidth = !f.noBandwidth
	case "stall":
		f.stall, err = parseSwitch(value)
	case "stamp":
		f.stamped, err = parseSwitch(value)
	case "refuse":
		_, err = fmt.Sscanf(value, "%dx%d", &f.refused.width, &f.refused.height)
	case "refuse-format":
		f.refusedFormat = value
	default:
		if _, ok := manglers[name]; ok {
			return f.setMangled(name, value)
		}
		number := f.number(name)
		if number == nil {
			return errors.New("unknown command")
		}
		*number, err = strconv.Atoi(value)
		if *number < 0 {
			*number, err = 0, errors.New("less than nothing")
		}
	}
	return err
}

// setMangled has every nth JPEG mangled; 0: none.
func (f *faults) setMangled(name, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return fmt.Errorf("%s: not a number from 0 on", value)
	}
	if f.mangled == nil {
		f.mangled = make(map[string]int)
	}
	f.mangled[name] = n
	return nil
}

// number returns the fault that is a number and has this name.
func (f *faults) number(name string) *int {
	return map[string]*int{
		"truncate":    &f.truncate,
		"error":       &f.error,
		"empty":       &f.empty,
		"stub":        &f.stub,
		"garbage":     &f.garbage,
		"lose":        &f.lose,
		"pad":         &f.zeros,
		"junk":        &f.noise,
		"rate":        &f.fps,
		"start-after": &f.startAfter,
	}[name]
}

func parseSwitch(value string) (bool, error) {
	switch value {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%s: neither on nor off", value)
}

// apply makes a picture the nth frame that the camera sends. Its data are
// appended to b.
func (f *faults) apply(b, picture []byte, format string, n int) frame {
	hit := func(every int) bool { return every > 0 && n%every == 0 }
	switch {
	case hit(f.empty):
		return frame{data: b, spoiled: true}
	case hit(f.stub):
		return frame{data: append(b, "\xff\xd8\xff\xd9"...), spoiled: true}
	case hit(f.garbage):
		return frame{data: appendNoise(b, len(picture), n), spoiled: true}
	case hit(f.truncate):
		return frame{data: append(b, picture[:len(picture)/2]...), spoiled: true}
	}
	for name, every := range f.mangled {
		if hit(every) && format == "MJPG" {
			b = append(b, manglers[name].mangle(bytes.Clone(picture))...)
			return frame{data: b, spoiled: manglers[name].spoils}
		}
	}
	sent := frame{lossy: hit(f.lose), spoiled: hit(f.lose) || hit(f.error)}
	if hit(f.error) {
		sent.flags = streamError
	}
	switch {
	case f.noTables && format == "MJPG":
		b = appendWithoutTables(b, picture)
	case f.stamped && format == "MJPG":
		b = appendStamped(b, picture, time.Now())
	default:
		b = append(b, picture...)
	}
	b = append(b, make([]byte, f.zeros)...)
	sent.data = appendNoise(b, f.noise, n)
	return sent
}

// appendNoise appends n bytes that mean nothing.
func appendNoise(b []byte, n, seed int) []byte {
	x := uint32(seed)
	for range n {
		x = x*1664525 + 1013904223
		b = append(b, byte(x>>24))
	}
	return b
}

// appendWithoutTables appends a JPEG without its DHT segment (ITU-T T.81,
// section B.2.4.2). Those of image/jpeg have one, with the typical tables,
// which is what such cameras use.
func appendWithoutTables(b, picture []byte) []byte {
	at := bytes.Index(picture, []byte{0xff, 0xc4})
	length := 2 + int(picture[at+2])<<8 + int(picture[at+3])
	b = append(b, picture[:at]...)
	return append(b, picture[at+length:]...)
}

// appendStamped appends a JPEG with a comment behind its start (ITU-T T.81,
// section B.2.4.5): a line that is the time, in seconds since 1970.
func appendStamped(b, picture []byte, at time.Time) []byte {
	micros := at.UnixMicro()
	text := fmt.Sprintf("%d.%06d\n", micros/1e6, micros%1e6)
	b = append(b, picture[:2]...)
	b = append(b, 0xff, 0xfe, 0, byte(2+len(text)))
	b = append(b, text...)
	return append(b, picture[2:]...)
}

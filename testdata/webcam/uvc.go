//go:build linux

package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Requests, the standard ones (USB 2.0, table 9-4) and those of video (UVC 1.1,
// table A-8).
const (
	getStatus        = 0x00
	clearFeature     = 0x01
	getDescriptor    = 0x06
	getConfiguration = 0x08
	setConfiguration = 0x09
	setInterface     = 0x0b

	setCur  = 0x01
	getCur  = 0x81
	getMin  = 0x82
	getMax  = 0x83
	getRes  = 0x84
	getLen  = 0x85
	getInfo = 0x86
	getDef  = 0x87
)

const (
	kindMask = 0x7f // bmRequestType without the direction: type and recipient

	kindDevice      = 0x00
	kindInterface   = 0x01
	kindEndpoint    = 0x02
	kindVideo       = 0x21 // class, interface
	fromDevice      = 0x80
	errorCodeSelect = 0x02 // VC_REQUEST_ERROR_CODE_CONTROL, of interface 0
	probeSelect     = 0x01 // VS_PROBE_CONTROL, of interface 1
	commitSelect    = 0x02 // VS_COMMIT_CONTROL, of interface 1

	// Why a request for a control was refused (UVC 1.1, section 4.2.1.2).
	wrongState     = 0x02
	outOfRange     = 0x04
	invalidControl = 0x06
	invalidRequest = 0x07
)

// Controls: of the camera terminal (UVC 1.1, section 4.2.2.1) and of the
// processing unit (section 4.2.2.3).
const (
	autoExposureMode = cameraTerminal<<8 | 0x02
	exposureTime     = cameraTerminal<<8 | 0x04
	brightness       = processingUnit<<8 | 0x02
	contrast         = processingUnit<<8 | 0x03

	manualExposure   = 1 // what autoExposureMode can be: one bit each
	aperturePriority = 8
)

// A control is something that can be set. Of autoExposureMode, res is a bitmap
// of what there is.
type control struct {
	size                    int // bytes
	min, max, res, def, cur int32
}

func newControls() map[uint16]*control {
	return map[uint16]*control{
		autoExposureMode: {1, 1, 8, manualExposure | aperturePriority, aperturePriority, aperturePriority},
		exposureTime:     {4, 1, 5000, 1, 157, 157}, // 100 us
		brightness:       {2, -64, 64, 1, 0, 0},
		contrast:         {2, 0, 95, 1, 32, 32},
	}
}

// control answers the requests that come to endpoint 0.
func (c *webcam) control(l *link, s setup, out []byte) ([]byte, unix.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l != c.link {
		return nil, errStall // unplugged meanwhile
	}
	switch kind := s.kind & kindMask; {
	case kind == kindVideo && byte(s.index) == streamingInterface:
		return c.streamingControl(l, s, out)
	case kind == kindVideo:
		in, refusal := c.cameraControl(s, out)
		if s.value>>8 != errorCodeSelect || s.index>>8 != 0 {
			c.refusal = refusal
		}
		if refusal != 0 {
			return nil, errStall
		}
		return in, 0
	case kind == kindEndpoint && s.request == clearFeature:
		// The end of streaming at a bulk endpoint (UVC 1.1, section 4.3.1.1).
		c.stop(l)
		return nil, 0
	case kind == kindInterface && s.request == setInterface && l.isochronous && s.index == streamingInterface:
		return nil, c.setAlternate(l, s.value)
	}
	return standardRequest(l, s)
}

// standardRequest answers what hosts ask of any device (USB 2.0, section 9.4).
func standardRequest(l *link, s setup) ([]byte, unix.Errno) {
	switch s.request {
	case setConfiguration, setInterface:
		return nil, 0
	case getStatus:
		return []byte{0, 0}, 0
	case getConfiguration:
		return []byte{1}, 0
	case getDescriptor:
		switch index := byte(s.value); byte(s.value >> 8) {
		case typeDevice:
			return describeDevice(), 0
		case typeConfiguration:
			return describeConfiguration(l.isochronous), 0
		case typeString:
			if int(index) < len(names) {
				return describeString(index), 0
			}
		}
	}
	return nil, errStall
}

// cameraControl gets or sets one of the controls. It returns why it does not,
// which is what the host asks for next.
func (c *webcam) cameraControl(s setup, out []byte) (in []byte, refusal byte) {
	entity, selector := s.index>>8, s.value>>8
	if entity == 0 && selector == errorCodeSelect {
		return []byte{c.refusal}, 0
	}
	known := c.controls[entity<<8|selector]
	if known == nil {
		return nil, invalidControl
	}
	number := func(n int32) []byte {
		return binary.LittleEndian.AppendUint32(nil, uint32(n))[:known.size]
	}
	switch s.request {
	case getCur:
		return number(known.cur), 0
	case getMin:
		return number(known.min), 0
	case getMax:
		return number(known.max), 0
	case getRes:
		return number(known.res), 0
	case getDef:
		return number(known.def), 0
	case getLen:
		return []byte{byte(known.size), 0}, 0
	case getInfo:
		return []byte{0x03}, 0 // can be got and set
	case setCur:
		return nil, c.setControl(known, out)
	}
	return nil, invalidRequest
}

func (c *webcam) setControl(known *control, out []byte) (refusal byte) {
	if len(out) != known.size {
		return invalidRequest
	}
	var wide [4]byte
	if out[len(out)-1] >= 0x80 {
		wide = [4]byte{0xff, 0xff, 0xff, 0xff} // negative
	}
	copy(wide[:], out)
	value := int32(binary.LittleEndian.Uint32(wide[:]))
	exposure := c.controls[autoExposureMode]
	switch {
	case known == c.controls[exposureTime] && exposure.cur != manualExposure:
		return wrongState
	case value < known.min || value > known.max || known == exposure && value&known.res == 0:
		return outOfRange
	}
	known.cur = value
	return 0
}

// The fields of the probe and commit controls that matter here, and where they
// are (UVC 1.1, table 4-75).
const (
	negotiationSize = 34 // bytes

	formatAt     = 2  // 1 byte
	frameAt      = 3  // 1 byte
	intervalAt   = 4  // 4 bytes, 100 ns
	frameSizeAt  = 18 // 4 bytes
	payloadAt    = 22 // 4 bytes, bytes
	clockAt      = 26 // 4 bytes, Hz
	framingAt    = 30 // 1 byte
	frameIDs     = 0x01
	endsOfFrames = 0x02
)

// A mode is what was negotiated.
type mode struct {
	format string
	size   size
	fps    int
}

// streamingControl negotiates what to stream (UVC 1.1, section 4.3.1.1): the
// host proposes, and reads what the camera makes of it. COMMIT starts it at a
// bulk endpoint.
func (c *webcam) streamingControl(l *link, s setup, out []byte) ([]byte, unix.Errno) {
	selector := s.value >> 8
	if selector != probeSelect && selector != commitSelect {
		return nil, errStall
	}
	switch s.request {
	case getLen:
		return []byte{negotiationSize, 0}, 0
	case getInfo:
		return []byte{0x03}, 0
	case getDef:
		in, _ := c.negotiate(l, make([]byte, negotiationSize))
		return in, 0
	case getCur, getMin, getMax:
		return c.agreed, 0
	case setCur:
		if len(out) > negotiationSize {
			return nil, errStall
		}
		agreed, m := c.negotiate(l, out)
		if m.format == c.faults.refusedFormat {
			return nil, errStall
		}
		c.agreed = agreed
		if selector == commitSelect {
			c.committed = m
			if !l.isochronous {
				c.start(l)
			}
		}
		return nil, 0
	}
	return nil, errStall
}

// negotiate returns what the camera makes of a proposal.
func (c *webcam) negotiate(l *link, proposal []byte) ([]byte, mode) {
	p := make([]byte, negotiationSize)
	copy(p, proposal)
	pick := func(at, count int) int {
		p[at] = max(1, min(p[at], byte(count)))
		return int(p[at]) - 1
	}
	f := formats[pick(formatAt, len(formats))]
	s := f.sizes[pick(frameAt, len(f.sizes))]
	if s == c.faults.refused {
		p[frameAt] = byte(len(f.sizes))
		s = f.sizes[len(f.sizes)-1]
	}
	fps := f.rates[0]
	asked := binary.LittleEndian.Uint32(p[intervalAt:])
	for _, rate := range f.rates {
		if asked >= interval(rate) {
			fps = rate
		}
	}
	binary.LittleEndian.PutUint32(p[intervalAt:], interval(fps))
	binary.LittleEndian.PutUint32(p[frameSizeAt:], uint32(frameSize(s)))
	binary.LittleEndian.PutUint32(p[payloadAt:], uint32(l.maxPayload()))
	binary.LittleEndian.PutUint32(p[clockAt:], 48e6)
	p[framingAt] = frameIDs | endsOfFrames
	return p, mode{f.name, s, fps}
}

//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unicode/utf16"
)

// What the camera is made of (UVC 1.1, section 2.3): interface 0 controls it,
// by the entities listed here, and interface 1 streams.
const (
	controlInterface   = 0
	streamingInterface = 1

	cameraTerminal = 1 // the lens and the sensor
	processingUnit = 2
	outputTerminal = 3

	streamEndpoint = 0x81 // to the host

	// bulkPayload is how much of a frame goes at a time, with its header, if
	// the endpoint is bulk. uvcvideo takes this much into one URB
	// (UVC_MAX_PACKETS), so that the end of a payload is always the end of an
	// URB.
	bulkPayload = 32 * 512 // bytes
)

// Descriptor types and subtypes (USB 2.0, table 9-5; UVC 1.1, appendix A).
const (
	typeDevice          = 0x01
	typeConfiguration   = 0x02
	typeString          = 0x03
	typeInterface       = 0x04
	typeEndpoint        = 0x05
	typeAssociation     = 0x0b
	typeVideo           = 0x24 // CS_INTERFACE
	vcHeader            = 0x01
	vcInputTerminal     = 0x02
	vcOutputTerminal    = 0x03
	vcProcessingUnit    = 0x05
	vsInputHeader       = 0x01
	vsUncompressed      = 0x04
	vsUncompressedFrame = 0x05
	vsMJPEG             = 0x06
	vsMJPEGFrame        = 0x07
	vsColorFormat       = 0x0d
)

// A size is that of a picture, in pixels.
type size struct{ width, height int }

func (s size) String() string { return fmt.Sprintf("%dx%d", s.width, s.height) }

// A format is one that the camera offers. Its index is its place in formats,
// from 1, and likewise for the sizes and intervals in it.
type format struct {
	name  string
	sizes []size
	rates []int // frames per second; the first is the default
}

var formats = []format{
	{"MJPG", []size{{640, 480}, {320, 240}}, []int{30, 15}},
	{"YUYV", []size{{320, 240}}, []int{15, 5}},
}

// interval is how long a frame lasts, in the 100 ns that UVC counts in.
func interval(fps int) uint32 {
	return uint32(time.Second / 100 / time.Duration(fps))
}

var names = []string{"", "porthole", "Porthole test webcam", "1"}

func describeDevice() []byte {
	return []byte{18, typeDevice,
		0x00, 0x02, // USB 2.0
		0xef, 0x02, 0x01, // several interfaces belong together
		64,         // bytes, packets of endpoint 0
		0x09, 0x12, // pid.codes' vendor number, and one that is for tests
		0x01, 0x00,
		0x00, 0x01, // device release 1.0
		1, 2, 3, // names
		1, // one configuration
	}
}

func describeString(index byte) []byte {
	text := utf16.Encode([]rune(names[index]))
	if index == 0 {
		text = []uint16{0x0409} // the languages there are: English
	}
	d := []byte{byte(2 + 2*len(text)), typeString}
	for _, unit := range text {
		d = binary.LittleEndian.AppendUint16(d, unit)
	}
	return d
}

func describeConfiguration(isochronous bool) []byte {
	control, streaming := describeControl(), describeStreaming()
	endpoints := byte(1)
	if isochronous {
		endpoints = 0 // alternate setting 0 takes no bandwidth
	}
	d := []byte{9, typeConfiguration, 0, 0, 2, 1, 0, 0x80, 250}
	d = append(d, 8, typeAssociation, controlInterface, 2, 0x0e, 0x03, 0x00, 0)
	d = append(d, 9, typeInterface, controlInterface, 0, 0, 0x0e, 0x01, 0x00, 0)
	d = append(d, control...)
	d = append(d, 9, typeInterface, streamingInterface, 0, endpoints, 0x0e, 0x02, 0x00, 0)
	d = append(d, streaming...)
	if isochronous {
		d = append(d, 9, typeInterface, streamingInterface, streamingAlternate, 1, 0x0e, 0x02, 0x00, 0)
		d = append(d, 7, typeEndpoint, streamEndpoint, 0x05, isoPayload&0xff, isoPayload>>8, 1)
	} else {
		d = append(d, 7, typeEndpoint, streamEndpoint, 0x02, 0x00, 0x02, 0) // 512 bytes
	}
	binary.LittleEndian.PutUint16(d[2:], uint16(len(d)))
	return d
}

// describeControl describes the entities (UVC 1.1, section 3.7.2). What can be
// set of them is a bitmap: see controls.
func describeControl() []byte {
	d := []byte{13, typeVideo, vcHeader,
		0x10, 0x01, // UVC 1.1
		0, 0, // length of all this
		0x00, 0x6c, 0xdc, 0x02, // 48 MHz
		1, streamingInterface,
	}
	d = append(d, 18, typeVideo, vcInputTerminal, cameraTerminal,
		0x01, 0x02, // ITT_CAMERA
		0, 0, 0, 0, 0, 0, 0, 0,
		3, 0x0a, 0x00, 0x00, // auto-exposure mode, exposure time
	)
	d = append(d, 12, typeVideo, vcProcessingUnit, processingUnit, cameraTerminal,
		0, 0,
		2, 0x03, 0x00, // brightness, contrast
		0, 0,
	)
	d = append(d, 9, typeVideo, vcOutputTerminal, outputTerminal,
		0x01, 0x01, // TT_STREAMING
		0, processingUnit, 0,
	)
	binary.LittleEndian.PutUint16(d[5:], uint16(len(d)))
	return d
}

// describeStreaming describes the formats (UVC 1.1, section 3.9.2, and the
// payload specifications of MJPEG and uncompressed video).
func describeStreaming() []byte {
	d := []byte{byte(13 + len(formats)), typeVideo, vsInputHeader,
		byte(len(formats)),
		0, 0, // length of all this
		streamEndpoint, 0, outputTerminal, 0, 0, 0,
		1,
	}
	d = append(d, make([]byte, len(formats))...) // nothing to set of them
	for i, f := range formats {
		frame := byte(vsMJPEGFrame)
		if f.name == "MJPG" {
			d = append(d, 11, typeVideo, vsMJPEG, byte(i+1), byte(len(f.sizes)), 0)
		} else {
			frame = vsUncompressedFrame
			d = append(d, 27, typeVideo, vsUncompressed, byte(i+1), byte(len(f.sizes)))
			d = append(d, "YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...) // the GUID of YUYV
			d = append(d, 16)                                                        // bits per pixel
		}
		d = append(d, 1, 0, 0, 0, 0)
		for j, s := range f.sizes {
			d = slices.Concat(d, describeFrame(f, frame, byte(j+1), s))
		}
		d = append(d, 6, typeVideo, vsColorFormat, 1, 1, 4) // BT.709, as usual
	}
	binary.LittleEndian.PutUint16(d[4:], uint16(len(d)))
	return d
}

func describeFrame(f format, kind, index byte, s size) []byte {
	little := binary.LittleEndian
	d := []byte{byte(26 + 4*len(f.rates)), typeVideo, kind, index, 0}
	d = little.AppendUint16(d, uint16(s.width))
	d = little.AppendUint16(d, uint16(s.height))
	bits := uint32(8 * frameSize(s))
	d = little.AppendUint32(d, bits*uint32(slices.Min(f.rates)))
	d = little.AppendUint32(d, bits*uint32(slices.Max(f.rates)))
	d = little.AppendUint32(d, uint32(frameSize(s)))
	d = little.AppendUint32(d, interval(f.rates[0]))
	d = append(d, byte(len(f.rates)))
	for _, fps := range f.rates {
		d = little.AppendUint32(d, interval(fps))
	}
	return d
}

// frameSize is how long a frame may be, in bytes: for MJPG too, as cameras say.
func frameSize(s size) int { return 2 * s.width * s.height }

//go:build linux

// Webcam is a USB camera made of software, for tests: it plugs itself into the
// kernel's virtual host controller, vhci-hcd, and the kernel's real driver,
// uvcvideo, takes it for a camera. It can misbehave in all the ways that cameras
// do.
//
//	webcam [-listen address] [-mark]
//	webcam hold /dev/video0
//	webcam parts DIRECTORY <STREAM
//	webcam show FILE...
//
// The first is the camera: MJPG 640x480 and 320x240, 30 or 15 frames per second,
// and YUYV 320x240. It needs root, and the modules vhci-hcd and uvcvideo. The
// address, TCP port 2324 if not given, takes commands, one a line. A second one
// needs another address; marked, it has other pictures:
//
//	plug, unplug         the cable; it is plugged in at the start
//	replug [TIMES]       unplug and plug, wait until frames are taken again
//	isochronous on|off   how it streams when it is plugged in next: off, as at
//	                     the start, is bulk
//	dht off|on           leave out the Huffman tables
//	truncate N           cut every Nth frame in half; 0: none
//	error N              mark every Nth frame as damaged
//	empty N              have no data in every Nth frame
//	stub N               have just start and end in every Nth frame
//	garbage N            have noise in every Nth frame, no JPEG
//	hole N, marker N, half N, half-ended N, no-data N, no-height N
//	                     spoil every Nth JPEG: bytes missing in the middle, a
//	                     stray marker there, the first half and then all of it,
//	                     the first half and an end, no data, 0 for the height
//	no-end N, two-ends N, two-pictures N, front N, gap N
//	                     make every Nth JPEG an odd one: without its end, with
//	                     another end or all of it again behind that, with what
//	                     belongs nowhere in front, or inside the header
//	lose N               lose a packet of every Nth frame, if isochronous
//	pad N, junk N        append N zeros, or N bytes of noise, to each frame
//	stall on|off         send no frames, as if there were none
//	start-after SECONDS  send the first frame that long after streaming started
//	rate FPS             send so many, whatever was negotiated; 0: as negotiated
//	refuse WxH           do not grant this size, though it is offered; 0x0: all
//	refuse-format NAME   fail when this format is asked for, though it is offered
//	bandwidth off|on     have none left on the bus for isochronous streaming
//	stamp on|off         put the time of sending into each JPEG, as a comment
//	normal               end all of these faults
//	status               tell what goes on
//
// The second waits for a node to appear, takes it into use as a program does
// that is about to stream, and holds it until it is killed.
//
// The third reads a multipart stream of JPEGs as it comes. It prints a line for
// each part: when it arrived and when it was captured, in seconds, and the file
// in the directory that has it; equal pictures share a file.
//
// The fourth prints a line for each picture: the name of the file, and "camera",
// the number in the picture and its size; or "other", or "damaged".
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("webcam: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	address := flag.String("listen", ":2324", "TCP `address` for commands")
	mark := flag.Bool("mark", false, fmt.Sprintf("number the pictures from %d, not from 0", pictureCount))
	flag.Parse()
	switch arg := flag.Arg; {
	case flag.NArg() == 0:
		return runWebcam(*address, *mark)
	case arg(0) == "hold" && flag.NArg() == 2:
		return hold(arg(1))
	case arg(0) == "parts" && flag.NArg() == 2:
		return listParts(os.Stdout, os.Stdin, arg(1))
	case arg(0) == "show":
		return show(os.Stdout, flag.Args()[1:])
	}
	return fmt.Errorf("no such command: %q", flag.Args())
}

func runWebcam(address string, mark bool) error {
	if err := loadable(); err != nil {
		return err
	}
	c := newWebcam(mark)
	if err := c.plug(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return c.serveCommands(l)
}

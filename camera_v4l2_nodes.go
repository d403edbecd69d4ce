//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// noCameras are drivers with nodes that look like cameras and are parts of video
// processors: a picture only comes out when one was put in elsewhere. Every
// Raspberry Pi has some.
var noCameras = []string{"bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec"}

// videoNodes lists the video nodes, in the order of their numbers.
func videoNodes() []string {
	nodes, _ := filepath.Glob("/dev/video[0-9]*")
	slices.SortFunc(nodes, func(a, b string) int { return nodeNumber(a) - nodeNumber(b) })
	return nodes
}

func nodeNumber(path string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(path, "/dev/video"))
	return n
}

// findV4L2 lists the nodes to try for what is wanted, the likeliest first.
func findV4L2(want settings) ([]string, error) {
	return findNodes(linux{}, videoNodes(), want)
}

// openV4L2 opens the node that device names.
func openV4L2(device string, want settings) (camera, error) {
	return openNode(linux{}, device, want)
}

// A node is a video node that may be a camera.
type node struct {
	path   string
	caps   v4l2Capability
	colour bool // it has pictures that we take, and not only grey ones
}

func findNodes(k kernel, paths []string, want settings) ([]string, error) {
	if want.device() != "" {
		return namedNodes(k, paths, want), nil
	}
	graphs := readGraphs(k)
	var nodes []node
	for _, path := range paths {
		if n := askNode(k, path); n.caps.mayBeCamera() && !fedFromMemory(k, path, graphs) {
			nodes = append(nodes, n)
		}
	}
	slices.SortStableFunc(nodes, func(a, b node) int { return a.rank(want.last) - b.rank(want.last) })
	found := make([]string, 0, len(nodes))
	for _, n := range nodes {
		found = append(found, n.path)
	}
	if len(found) == 0 {
		return nil, errNoCamera
	}
	return found, nil
}

// namedNodes lists the nodes that may be the camera which was asked for by a
// path. The kernel's own name is gone when the camera is, if it is in use
// somewhere: then it comes back under another. That can only be told from another
// camera if there was none with that name.
func namedNodes(k kernel, paths []string, want settings) []string {
	device := want.device()
	if !isNode(device) || slices.Contains(paths, device) || want.last.Name == "" || want.twin {
		return []string{device}
	}
	same := slices.DeleteFunc(slices.Clone(paths), func(path string) bool {
		caps := nodeCaps(k, path)
		return !caps.isCapture() || caps.name() != want.last.Name
	})
	return append(same, device) // its error is the one to be told
}

// isNode reports whether a path is what the kernel calls a node: such a name is
// given to whichever camera comes next. All other paths are links that name one
// camera.
func isNode(path string) bool {
	number, found := strings.CutPrefix(path, "/dev/video")
	_, notNumber := strconv.ParseUint(number, 10, 32)
	_, notLink := os.Readlink(path)
	return found && notNumber == nil && notLink != nil
}

// hasTwin reports whether a camera other than the one in info has its name.
func hasTwin(k kernel, paths []string, info cameraInfo) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		caps := nodeCaps(k, path)
		return caps.isCapture() && caps.name() == info.Name && caps.bus() != info.bus
	})
}

// withDevice opens a device for ask. One that can't be opened is not asked.
func withDevice(k kernel, path string, ask func(fd int)) {
	if fd, err := k.open(path); err == nil {
		defer k.close(fd)
		ask(fd)
	}
}

// nodeCaps asks a node what it is. It says nothing if it can't be asked.
func nodeCaps(k kernel, path string) (caps v4l2Capability) {
	withDevice(k, path, func(fd int) { k.ioctl(fd, vidiocQueryCap, unsafe.Pointer(&caps)) })
	return caps
}

// askNode asks a node what it is, and what pictures it has.
func askNode(k kernel, path string) node {
	n := node{path: path}
	withDevice(k, path, func(fd int) {
		k.ioctl(fd, vidiocQueryCap, unsafe.Pointer(&n.caps))
		n.colour = hasColour(k, fd)
	})
	return n
}

// hasColour reports whether a node has pictures that we take, and not only grey
// ones.
func hasColour(k kernel, fd int) bool {
	formats, _ := listFormats(k, fd)
	return slices.ContainsFunc(formats, func(format string) bool {
		return format != "GREY" && slices.Contains(formatsWanted, format)
	})
}

// mayBeCamera reports whether a node is worth a try. One that cannot be asked is:
// why not, is to be told.
func (c *v4l2Capability) mayBeCamera() bool {
	return *c == v4l2Capability{} || c.isCapture()
}

// isCapture reports whether pictures come out of a node, and none go in.
func (c *v4l2Capability) isCapture() bool {
	can := c.caps()
	return can&(capVideoCapture|capVideoCaptureMplane) != 0 && can&(capVideoM2M|capVideoM2MMplane|capTouch) == 0 &&
		!slices.Contains(noCameras, c.driverName())
}

// rank orders nodes: first the camera that gave pictures last, then any with colour
// before one for depth or infrared, then USB cameras before what is part of the
// board: that may have nothing connected.
func (n *node) rank(last cameraInfo) int {
	rank := 0
	if last.Name == "" || n.caps.name() != last.Name {
		rank += 8
	}
	if !n.colour {
		rank += 4
	}
	if !strings.HasPrefix(n.caps.bus(), "usb-") {
		rank += 2
	}
	if n.caps.bus() != last.bus {
		rank++
	}
	return rank
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// Nodes lists the video nodes of this machine, /dev/video0 and so on, in the order of
// their numbers. A camera has several, and not all of them give pictures.
func Nodes(k Kernel) []string {
	number := func(path string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(path, "/dev/video"))
		return n
	}
	nodes := k.Glob("/dev/video[0-9]*")
	slices.SortFunc(nodes, func(a, b string) int { return number(a) - number(b) })
	return nodes
}

// IsNodeName reports whether a path is a name by the kernel, like /dev/video0, which the next
// device may get. Other paths to a node are links, which name one device.
func IsNodeName(path string) bool {
	number, found := strings.CutPrefix(path, "/dev/video")
	_, notNumber := strconv.ParseUint(number, 10, 32)
	_, notLink := os.Readlink(path)
	return found && notNumber == nil && notLink != nil
}

// QueryCap opens the video node at path, makes VIDIOC_QUERYCAP, and closes it.
func QueryCap(k Kernel, path string) (Capability, error) {
	d, err := Open(k, path)
	if err != nil {
		return Capability{}, err
	}
	defer d.Close()
	return d.QueryCap()
}

// A Node describes a video node, as far as it could be asked: another program may have
// it, or this one may not be allowed to open it. Then only the path is known.
type Node struct {
	Path string
	Capability
	Formats []FourCC

	// FedFromMemory says that the pictures are those that a program puts into another
	// node: this one is a part of a video processor, and no camera. Media devices tell
	// it (MEDIA_IOC_G_TOPOLOGY); it is false if there is none.
	FedFromMemory bool
}

// QueryNodes opens each video node once, asks it what it is, and closes it.
func QueryNodes(k Kernel) (nodes []Node) {
	topologies := topologies(k)
	for _, path := range Nodes(k) {
		n := Node{Path: path, FedFromMemory: fedFromMemory(k, path, topologies)}
		if d, err := Open(k, path); err == nil {
			n.Capability, _ = d.QueryCap()
			n.Formats, _ = d.EnumFormats()
			d.Close()
		}
		nodes = append(nodes, n)
	}
	return nodes
}

//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

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

// openV4L2 opens the node that device names, or the first that is a camera. One
// that was open before and was unplugged may have come back with another
// number, so the nodes with its name are looked at, too.
func openV4L2(device string, want settings) (camera, error) {
	return openNamed(linux{}, device, videoNodes(), want)
}

func openNamed(k kernel, device string, nodes []string, want settings) (camera, error) {
	same, others := sortByName(k, nodes, want.last.Name)
	if device == "" {
		return openFirst(k, append(same, others...), want)
	}
	c, err := openNode(k, device, want)
	if errors.Is(err, fs.ErrNotExist) && len(same) > 0 {
		return openFirst(k, same, want)
	}
	return c, err
}

// sortByName tells the nodes of the camera that has a name from the others.
func sortByName(k kernel, nodes []string, name string) (same, others []string) {
	if name == "" {
		return nil, nodes
	}
	for _, path := range nodes {
		if caps := nodeCaps(k, path); caps.name() == name {
			same = append(same, path)
		} else {
			others = append(others, path)
		}
	}
	return same, others
}

// nodeCaps asks a node what it is. It says nothing if it can't be asked.
func nodeCaps(k kernel, path string) (caps v4l2Capability) {
	if fd, err := k.open(path); err == nil {
		k.ioctl(fd, vidiocQueryCap, unsafe.Pointer(&caps))
		k.close(fd)
	}
	return caps
}

// openFirst opens the first node that is a camera. When there are cameras and
// none can be opened, the error is the first one's.
func openFirst(k kernel, nodes []string, want settings) (camera, error) {
	var failed error = notThere("no camera found: is it plugged in, and its kernel driver loaded?")
	for _, path := range nodes {
		c, err := openNode(k, path, want)
		if err == nil {
			return c, nil
		}
		if errors.Is(failed, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
	}
	return nil, failed
}

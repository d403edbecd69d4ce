//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package main

import "unsafe"

// Which parts a video device has, and how pictures go from one to the other, is told
// by the media device that it belongs to. Everything here is from
// include/uapi/linux/media.h.

const (
	mediaEntityIO = 0x10001 // MEDIA_ENT_F_IO_V4L: where pictures come out into memory, or go in

	maxMediaParts = 4096 // of each kind, more than any device has
)

// struct media_v2_topology, packed. Of each kind of part it has the number and where
// to write them; 0 to be told only the number.
type mediaTopology struct {
	version              [2]uint32
	entities, interfaces mediaArray
	pads, links          mediaArray
}

type mediaArray struct {
	count uint32
	_     uint32
	at    [2]uint32 // a pointer in 64 bits, not aligned
}

// struct media_v2_entity
type mediaEntity struct {
	id       uint32
	_        [64]byte // name
	function uint32
	_        [6]uint32 // flags
}

// struct media_v2_interface
type mediaInterface struct {
	id           uint32
	_            [11]uint32 // type, flags
	major, minor uint32     // of a device node
	_            [14]uint32
}

// struct media_v2_pad
type mediaPad struct {
	id       uint32
	entityID uint32
	_        [6]uint32 // flags, index
}

// struct media_v2_link: from one pad to another, or from an interface to an entity.
type mediaLink struct {
	_        uint32 // id
	sourceID uint32
	sinkID   uint32
	_        [7]uint32 // flags
}

// mediaIocGTopology is MEDIA_IOC_G_TOPOLOGY, since Linux 4.19.
const mediaIocGTopology = iocRead | iocWrite | unsafe.Sizeof(mediaTopology{})<<16 | '|'<<8 | 4

// A mediaGraph is what a media device consists of.
type mediaGraph struct {
	entities   []mediaEntity
	interfaces []mediaInterface
	pads       []mediaPad
	links      []mediaLink
}

// fedFromMemory reports whether what comes out of a video node is what a program
// puts into another: then it is a part of a processor, and no camera. If the kernel
// does not tell, it is false.
func fedFromMemory(k kernel, path string, graphs []mediaGraph) bool {
	major, minor, ok := k.deviceNumber(path)
	if !ok {
		return false
	}
	for _, g := range graphs {
		if entity := g.entityOf(major, minor); entity != 0 {
			return g.fedFromMemory(entity)
		}
	}
	return false
}

// readGraphs asks all media devices what they consist of. Those that do not say are
// left out.
func readGraphs(k kernel) (graphs []mediaGraph) {
	for _, path := range k.mediaDevices() {
		withDevice(k, path, func(fd int) {
			var g mediaGraph
			if k.topology(fd, &g) == nil {
				graphs = append(graphs, g)
			}
		})
	}
	return graphs
}

// entityOf returns the id of the entity behind a device node; 0 if it has none here.
func (g *mediaGraph) entityOf(major, minor uint32) uint32 {
	for _, node := range g.interfaces {
		if node.major != major || node.minor != minor {
			continue
		}
		for _, link := range g.links {
			if link.sourceID == node.id {
				return link.sinkID
			}
		}
	}
	return 0
}

// fedFromMemory follows the links from an entity to where its pictures come from.
func (g *mediaGraph) fedFromMemory(entity uint32) bool {
	seen := map[uint32]bool{entity: true}
	memory, other := false, false
	for todo := []uint32{entity}; len(todo) > 0; todo = todo[1:] {
		sources := g.sourcesOf(todo[0])
		if len(sources) == 0 && todo[0] != entity {
			if g.function(todo[0]) == mediaEntityIO {
				memory = true
			} else {
				other = true
			}
		}
		for _, source := range sources {
			if !seen[source] {
				seen[source] = true
				todo = append(todo, source)
			}
		}
	}
	return memory && !other
}

// sourcesOf lists the entities from which pictures come to an entity.
func (g *mediaGraph) sourcesOf(entity uint32) (sources []uint32) {
	for _, link := range g.links {
		if g.ownerOf(link.sinkID) == entity {
			if source := g.ownerOf(link.sourceID); source != 0 {
				sources = append(sources, source)
			}
		}
	}
	return sources
}

// ownerOf returns the entity that a pad belongs to; 0 for what is no pad.
func (g *mediaGraph) ownerOf(pad uint32) uint32 {
	for _, p := range g.pads {
		if p.id == pad {
			return p.entityID
		}
	}
	return 0
}

func (g *mediaGraph) function(entity uint32) uint32 {
	for _, e := range g.entities {
		if e.id == entity {
			return e.function
		}
	}
	return 0
}

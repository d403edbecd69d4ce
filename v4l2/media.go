//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package v4l2

import "porthole/v4l2/uapi"

// A Topology describes a media device (/dev/media0): the parts that a video device
// consists of, and the links that pictures take from one to the other.
type Topology struct {
	Entities   []uapi.MediaEntity
	Interfaces []uapi.MediaInterface
	Pads       []uapi.MediaPad
	Links      []uapi.MediaLink
}

// topologies returns the topologies of all media devices of this machine, with
// MEDIA_IOC_G_TOPOLOGY. It leaves out those that cannot be asked.
func topologies(k Kernel) (all []*Topology) {
	for _, path := range k.Glob("/dev/media[0-9]*") {
		fd, err := k.Open(path)
		if err != nil {
			continue
		}
		if t, err := k.Topology(fd); err == nil {
			all = append(all, t)
		}
		k.Close(fd)
	}
	return all
}

// fedFromMemory reports whether the pictures of a video node are those that a program
// puts into another node. It is false if the topologies do not tell.
func fedFromMemory(k Kernel, path string, topologies []*Topology) bool {
	major, minor, err := k.DeviceNumber(path)
	if err != nil {
		return false
	}
	for _, t := range topologies {
		if entity := t.entityOf(major, minor); entity != 0 {
			return t.fedFromMemory(entity)
		}
	}
	return false
}

// entityOf returns the ID of the entity behind a device node; 0 if it has none here.
func (t *Topology) entityOf(major, minor uint32) uint32 {
	for _, node := range t.Interfaces {
		if node.Major != major || node.Minor != minor {
			continue
		}
		for _, link := range t.Links {
			if link.SourceID == node.ID {
				return link.SinkID
			}
		}
	}
	return 0
}

// fedFromMemory follows the links from an entity to the sources of its pictures.
func (t *Topology) fedFromMemory(entity uint32) bool {
	seen := map[uint32]bool{entity: true}
	memory, other := false, false
	for todo := []uint32{entity}; len(todo) > 0; todo = todo[1:] {
		sources := t.sourcesOf(todo[0])
		if len(sources) == 0 && todo[0] != entity {
			if t.function(todo[0]) == uapi.MEDIA_ENT_F_IO_V4L {
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

// sourcesOf lists the entities that send pictures to an entity.
func (t *Topology) sourcesOf(entity uint32) (sources []uint32) {
	for _, link := range t.Links {
		if t.ownerOf(link.SinkID) == entity {
			if source := t.ownerOf(link.SourceID); source != 0 {
				sources = append(sources, source)
			}
		}
	}
	return sources
}

// ownerOf returns the entity that a pad belongs to; 0 if it is not a pad.
func (t *Topology) ownerOf(pad uint32) uint32 {
	for _, p := range t.Pads {
		if p.ID == pad {
			return p.EntityID
		}
	}
	return 0
}

func (t *Topology) function(entity uint32) uint32 {
	for _, e := range t.Entities {
		if e.ID == entity {
			return e.Function
		}
	}
	return 0
}

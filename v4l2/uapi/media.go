//go:build linux && (386 || amd64 || arm || arm64 || loong64 || riscv64)

package uapi

import "unsafe"

// MEDIA_ENT_F_IO_V4L is the function of an entity of include/uapi/linux/media.h that
// moves pictures to memory or from there.
const MEDIA_ENT_F_IO_V4L = 0x10001

// MediaTopology is struct media_v2_topology, which is packed. For each kind of part it
// has their number and the address of an array for them; with the address 0 the kernel
// tells only the number.
type MediaTopology struct {
	Version              [2]uint32
	Entities, Interfaces MediaArray
	Pads, Links          MediaArray
}

// MediaArray is a number of parts and the address of their array.
type MediaArray struct {
	Count uint32
	_     uint32
	At    [2]uint32 // a pointer as 64 bits, the lower half first, not aligned
}

// MediaEntity is struct media_v2_entity.
type MediaEntity struct {
	ID       uint32
	_        [64]byte // name
	Function uint32
	_        [6]uint32 // flags
}

// MediaInterface is struct media_v2_interface.
type MediaInterface struct {
	ID           uint32
	_            [11]uint32 // type, flags
	Major, Minor uint32     // of a device node
	_            [14]uint32
}

// MediaPad is struct media_v2_pad.
type MediaPad struct {
	ID       uint32
	EntityID uint32
	_        [6]uint32 // flags, index
}

// MediaLink is struct media_v2_link: from one pad to another, or from an interface to an entity.
type MediaLink struct {
	_        uint32 // id
	SourceID uint32
	SinkID   uint32
	_        [7]uint32 // flags
}

// MEDIA_IOC_G_TOPOLOGY asks a media device for its parts. It exists since Linux 4.19.
const MEDIA_IOC_G_TOPOLOGY = iocRead | iocWrite | unsafe.Sizeof(MediaTopology{})<<16 | '|'<<8 | 4

// Package uapi has the part of the kernel's interface for video devices that package
// v4l2 uses: the structures, constants and request numbers of
// include/uapi/linux/videodev2.h and include/uapi/linux/media.h, under the names that
// they have there.
//
// A request number contains the size of its structure, so each structure has the layout
// that C gives it, on 32 and on 64 bits.
//
// Programs use package v4l2. This one is for v4l2 itself and for fakes of the kernel.
package uapi

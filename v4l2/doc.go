// Package v4l2 uses video devices through Video4Linux2, the kernel's interface for
// cameras, receivers of HDMI and analog television, and the like. It needs no cgo.
//
// A [Device] is an open video node, /dev/video0 say. Its methods have the names of the
// requests that they make: [Device.QueryCap] makes VIDIOC_QUERYCAP, [Device.SetFormat]
// makes VIDIOC_S_FMT. The requests and their structures are described in
// www.kernel.org/doc/html/latest/userspace-api/media/v4l/v4l2.html.
//
// # Capturing
//
// The order of the calls matters. A format can only be set while there are no buffers,
// and the size of a receiver's picture follows from the signal.
//
//	Nodes, Open          find and open a node
//	QueryCap             is it a camera?
//	Input, SetInput      some receivers give no picture until their input is selected
//	QueryDVTimings, ...  receivers of HDMI and television take the signal that comes in
//	EnumFormats, ...     what there is
//	SetFormat, SetParm   choose; the driver grants what it can
//	Controls, ...        brightness and such, at any time
//	RequestBuffers       get memory for pictures
//	StreamOn             start
//	Dequeue, Queue       take a picture, give its buffer back; repeat
//	Close                stop, and give everything back
//
// [Device.Dequeue] waits for a picture with Go's poller: no thread is blocked. A picture
// lies in memory that the driver has mapped, and is valid until its buffer is queued
// again. Neither Dequeue nor Queue allocates memory.
//
// # Encoding
//
// Many boards have an encoder for JPEG, which takes raw pictures from memory and gives JPEGs back
// to it. [Encoders] finds them by their formats: drivers and the numbers of nodes differ.
//
//	e, err := v4l2.OpenEncoder(kernel, node, config)
//	copy(e.Planes()[0], raw)       // in the layout that e.Format tells
//	jpeg, err := e.Encode(limit)   // wait for it
//	...                            // copy it
//	err = e.Release()              // give the buffers back; repeat
//
// Encode and Release allocate nothing. What comes back should be looked at before it is used: some
// drivers return something else at times.
//
// # Memory
//
// Memory of a driver may be uncached, where a load of a byte takes as long as that of a word: read
// it once, by copying.
//
// Devices that have the multi-planar API and no other (V4L2_CAP_VIDEO_CAPTURE_MPLANE) are
// used in the same way. [Buffer.Planes] returns the planes of memory of a picture.
//
// # Errors
//
// An error of a system call is an [os.SyscallError] that names the request, as in
// "ioctl(VIDIOC_S_FMT): device or resource busy", and matches the errno of package
// golang.org/x/sys/unix with errors.Is. Drivers differ a lot in what they refuse. Most
// requests are optional: a camera that knows none but QUERYCAP, S_FMT and those about
// buffers and streaming still gives pictures.
//
// Names that a driver tells are returned as they are, also with control characters that
// a camera may have put there.
//
// # Systems
//
// All of this but the package comment exists on Linux on 386, amd64, arm, arm64, loong64
// and riscv64, which share the request numbers.
package v4l2

// Package v4l2test has a kernel with video devices of our own, for tests of programs that
// use package v4l2. A [Camera] is one video node, and a [Board] has several, which can be
// plugged in and unplugged. They stand in for the system calls, so all code above those
// is tested.
package v4l2test

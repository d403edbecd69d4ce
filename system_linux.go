package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxUnsent is how many bytes of a socket may be unsent when the next frame is chosen for it.
// Those bytes grow old, and the bytes on their way keep the link busy meanwhile. With a
// smaller value, no fewer frames come through, and they cost no more CPU. Median age of
// frames that come through 2 Mbit/s somewhere on their way (BenchmarkSlowLink without isQueued,
// and with bbr for congestion control): 340 ms without this, 205 ms with 8 KiB,
// 190 ms with 512 bytes; with cubic, 215 ms and 199 ms.
const maxUnsent = 512

func init() {
	thisHost.sockets = socketCalls{
		send:         sendWithoutWaiting,
		limitUnsent:  limitUnsent,
		isWritable:   isWritable,
		isQueued:     isQueued,
		limitSilence: limitSilence,
		isHungUp:     isHungUp,
	}
	thisHost.maxFiles, thisHost.memory = maxFiles(), machineMemory()
	thisHost.dropUnusedPages = dropProgramPages
}

// maxFiles returns how many files this process may have open. Go has raised the soft limit to
// the hard one by now.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32)) // it may be infinite
}

// machineMemory returns how much memory this machine has, in bytes; 0 if that is not known.
func machineMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}

// sendWithoutWaiting is send(2) without waiting. With MSG_EOR, the next call starts a packet
// of its own. The limit of limitUnsent applies when a packet is started, and the kernel would
// otherwise fill up the last one, to 64 KB, however much is unsent. The call never waits, so
// Go's scheduler need not know of it: see neverWaits in package v4l2.
func sendWithoutWaiting(fd uintptr, b []byte) (int, error) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_EOR | unix.MSG_NOSIGNAL
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, unix.EAGAIN // no allocation
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// limitUnsent sets TCP_NOTSENT_LOWAT (tcp(7)). Accepted sockets do not
// inherit it. It fails on a unix socket, which is never slow, and before
// Linux 3.12.
func limitUnsent(fd uintptr) {
	unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
}

// isWritable asks with poll(2), for which the limit of limitUnsent applies, too.
func isWritable(fd uintptr) bool {
	all := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(all, 0)
	return err == nil && n > 0
}

// limitSilence sets TCP_USER_TIMEOUT (tcp(7)): the kernel gives up a
// connection whose other end has not acknowledged data for that long, instead of after a
// quarter of an hour. Write deadlines do not notice an end that has just vanished while
// everything fits into the socket's buffer.
func limitSilence(fd uintptr) {
	unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(clientTimeout.Milliseconds()))
}

// isHungUp asks with poll(2). The kernel knows that the other end of a unix socket is closed, and
// has not only shut down its sending side, at once. Of a TCP connection it knows after a
// reset, in answer to something that was sent.
func isHungUp(fd uintptr) bool {
	all := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR always count
	n, err := unix.Poll(all, 0)
	return err == nil && n > 0 && all[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// maxQueued is how many bytes of a socket may be in the queue of a network device before the
// socket counts as waiting for the device's link: two full packets of an Ethernet or WiFi, as
// the kernel counts them. They keep the link busy until the next frame is chosen.
const maxQueued = 5000

// isQueued asks for SK_MEMINFO_WMEM_ALLOC (SO_MEMINFO in socket(7), sock_diag(7)):
// packets that a device has not let go of. Before Linux 4.12 it is false.
func isQueued(fd uintptr) bool {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && info[unix.SK_MEMINFO_WMEM_ALLOC] > maxQueued
}

// dropProgramPages takes the pages of the program itself out of memory. Those that are needed come
// back from the page cache, and they are fewer than the start needed: 8.4 MB and not 9.2 are
// resident on an emulated Pi Zero with 40 clients (.ci/pizero).
func dropProgramPages() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps") // proc_pid_maps(5)
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		var start, end, offset uintptr
		var access, device, inode, name string
		fmt.Sscanf(string(line), "%x-%x %s %x %s %s %s", &start, &end, &access, &offset, &device, &inode, &name)
		// Writable pages would be lost. These are the same as in the file.
		if name == program && (access == "r-xp" || access == "r--p") {
			unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		}
	}
}

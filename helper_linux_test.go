package main

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	discard = discardUnread
}

// discardUnread has the kernel throw away what comes (MSG_TRUNC in tcp(7)), so
// that viewers cost as little as they can.
func discardUnread(conn net.Conn) (n int64, err error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20)
	for err == nil {
		readErr := raw.Read(func(fd uintptr) bool {
			var got int
			got, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			n += int64(max(got, 0))
			if err == nil && got == 0 {
				err = io.EOF
			}
			return err != unix.EAGAIN
		})
		if readErr != nil {
			return n, readErr
		}
	}
	return n, err
}

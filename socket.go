//go:build linux || darwin

package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much may lie in a socket without having been sent, in
// bytes: about half a frame. Everything in there is already growing old.
// Measured on a link of 2 Mbit/s with frames of 28 KB at 30 a second: see
// BenchmarkSlowLink.
const maxUnsent = 16 << 10

func init() {
	trySend = trySendSocket
	tuneListener = limitUnsent
}

// trySendSocket is write(2) on a non-blocking socket.
func trySendSocket(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// limitUnsent sets TCP_NOTSENT_LOWAT (tcp(7)) on a listening socket; the
// accepted ones inherit it.
func limitUnsent(network, address string, conn syscall.RawConn) error {
	var err error
	ctlErr := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT) {
		err = nil // a unix socket, or a kernel before 3.12
	}
	return errors.Join(ctlErr, err)
}

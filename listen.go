package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A listenFunc opens a listening socket, as net.ListenConfig's Listen does.
type listenFunc func(ctx context.Context, network, address string) (net.Listener, error)

// awaitListener opens the listening socket as soon as this machine has the address. At boot,
// DHCP may still be at work, or the name may not be known yet. The listener is nil if ctx
// ends before.
func awaitListener(ctx context.Context, listen listenFunc, address string, logger *log.Logger) (net.Listener, error) {
	for said := false; ctx.Err() == nil; sleep(ctx, time.Second) {
		l, err := openListener(ctx, listen, address)
		if err == nil || !mayAppear(err, address) && ctx.Err() == nil {
			return l, err
		}
		if !said && ctx.Err() == nil {
			said = true
			logger.Printf("%v: waiting for it", err)
		}
	}
	return nil, nil
}

// awaitListeners opens a listening socket for each address, unless the service manager has opened
// some for us. There are none if ctx ends before.
func awaitListeners(ctx context.Context, h host, addresses []string, scheme string, logger *log.Logger) ([]net.Listener, error) {
	all, err := h.inherited()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		if all, err = openListeners(ctx, h.listen, addresses, logger); err != nil {
			return nil, err
		}
	}
	for _, l := range all {
		logger.Printf("watch at %s", strings.Join(urls(scheme, l.Addr()), " "))
	}
	return all, nil
}

// openListeners opens a listening socket for each address, or the usual one if there is none. It
// opens none if one fails, or ctx ends before.
func openListeners(ctx context.Context, listen listenFunc, addresses []string, logger *log.Logger) (all []net.Listener, err error) {
	if len(addresses) == 0 {
		l, err := openUsual(ctx, listen, logger)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	for _, address := range addresses {
		l, err := awaitListener(ctx, listen, address, logger)
		if err != nil || l == nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

const (
	usualAddress = ":5000" // and OctoPrint's
	firstSpare   = 8080    // ports, if that is in use
	lastSpare    = 8099
)

// openUsual opens the socket of usualAddress, or of the first spare port that is free.
func openUsual(ctx context.Context, listen listenFunc, logger *log.Logger) (net.Listener, error) {
	l, err := openListener(ctx, listen, usualAddress)
	for port := firstSpare; errors.Is(err, syscall.EADDRINUSE) && port <= lastSpare; port++ {
		address := fmt.Sprintf(":%d", port)
		if l, err = openListener(ctx, listen, address); err == nil {
			logger.Printf("%s is in use by another program: %s is used instead", usualAddress, address)
		}
	}
	return l, err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// A joinedListener accepts the connections of several listeners.
type joinedListener struct {
	listeners []net.Listener
	accepted  chan acceptance
	closed    context.Context
	close     context.CancelFunc
}

// An acceptance is what a listener's Accept has returned.
type acceptance struct {
	conn net.Conn
	err  error
}

// joinListeners returns listeners as one.
func joinListeners(listeners []net.Listener) net.Listener {
	if len(listeners) == 1 {
		return listeners[0]
	}
	j := &joinedListener{listeners: listeners, accepted: make(chan acceptance)}
	j.closed, j.close = context.WithCancel(context.Background())
	for _, l := range listeners {
		go j.acceptFrom(l)
	}
	return j
}

// acceptFrom passes on what a listener accepts, and its errors, until the end.
func (j *joinedListener) acceptFrom(l net.Listener) {
	for {
		conn, err := l.Accept()
		select {
		case j.accepted <- acceptance{conn, err}:
		case <-j.closed.Done():
			if conn != nil {
				conn.Close()
			}
			return
		}
	}
}

func (j *joinedListener) Accept() (net.Conn, error) {
	select {
	case a := <-j.accepted:
		return a.conn, a.err
	case <-j.closed.Done():
		return nil, net.ErrClosed
	}
}

func (j *joinedListener) Close() error {
	j.close()
	closeAll(j.listeners)
	return nil
}

// Addr returns the address of the first listener.
func (j *joinedListener) Addr() net.Addr { return j.listeners[0].Addr() }

// mayAppear reports whether listening failed because the machine lacks the address.
func mayAppear(err error, address string) bool {
	host, _, _ := net.SplitHostPort(address)
	var unknown *net.DNSError // also of a port's name
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.As(err, &unknown) && unknown.Name == host
}

// openListener opens the listening socket: unix:/path, or a TCP address.
func openListener(ctx context.Context, listen listenFunc, address string) (net.Listener, error) {
	network, where := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
		removeStaleSocket(path)
	}
	l, err := listen(ctx, network, where)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &advisedError{address + ": in use by another program: end it, or choose another address with -listen", err}
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: permission denied: run as root, or choose another address with -listen (%w)", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine does not have that address (%w)", address, err)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	if network == "unix" {
		// For the group, like that of a proxy. Without this only the owner may connect,
		// which takes the right to write.
		if err := os.Chmod(where, 0o660); err != nil {
			l.Close()
			return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
		}
	}
	return l, nil
}

// removeStaleSocket removes a unix socket that nobody listens on any more. Other files
// refuse a connection too, and must be kept.
func removeStaleSocket(path string) {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(path)
	}
}

// urls lists the URLs at which a listener can be reached: one on all
// interfaces at each address of this machine. scheme is http or https.
func urls(scheme string, a net.Addr) []string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return []string{a.Network() + ":" + a.String()}
	}
	if !tcp.IP.IsUnspecified() {
		return []string{scheme + "://" + tcp.String() + "/"}
	}
	port := strconv.Itoa(tcp.Port)
	all := []string{scheme + "://localhost:" + port + "/"}
	interfaces, _ := net.InterfaceAddrs()
	if name := localName(avahiSocket, avahiLimit, interfaces); name != "" {
		all = append(all, scheme+"://"+name+":"+port+"/")
	}
	for _, i := range interfaces {
		if n, ok := i.(*net.IPNet); ok && reachable(n.IP) {
			all = append(all, scheme+"://"+net.JoinHostPort(n.IP.String(), port)+"/")
		}
	}
	return all
}

// avahiSocket is where avahi-daemon takes questions in a line of text. Programs without the C library
// don't get names in .local in another way.
const avahiSocket = "/run/avahi-daemon/socket"

// avahiLimit is how long avahi may take. It knows the name at once, but waits for others' answers while
// it does not have it yet, and the start does not wait for that.
const avahiLimit = 300 * time.Millisecond

// localName returns the name that avahi announces for this machine, like raspberrypi.local; "" if
// there is no avahi, or another machine has that name.
func localName(socket string, limit time.Duration, own []net.Addr) string {
	conn, err := net.DialTimeout("unix", socket, limit)
	if err != nil {
		return ""
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	fmt.Fprintf(conn, "RESOLVE-HOSTNAME %s.local\n", name)
	answer := make([]byte, 500) // like "+ 2 0 raspberrypi.local 192.168.1.23"
	n, _ := conn.Read(answer)
	if fields := strings.Fields(string(answer[:n])); len(fields) == 5 && fields[0] == "+" {
		for _, a := range own {
			if i, ok := a.(*net.IPNet); ok && i.IP.Equal(net.ParseIP(fields[4])) {
				return fields[3]
			}
		}
	}
	return ""
}

// openPort returns the TCP port of an address at which other machines may connect; 0 if they cannot.
func openPort(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		return tcp.Port
	}
	return 0
}

// reachable reports whether others can reach this machine at ip: 169.254.x.x
// included, which is all that a Zero on a USB cable may have.
func reachable(ip net.IP) bool {
	return ip.IsGlobalUnicast() || ip.To4() != nil && ip.IsLinkLocalUnicast()
}

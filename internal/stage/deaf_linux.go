package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// deaf is a socket that listens and accepts nothing, with a full queue.
type deaf struct {
	fd    int
	queue []net.Conn
}

// listenDeaf listens on an address such that connections to it hang: the
// shortest queue there is, filled, from which nobody takes anything. Linux then
// drops whatever else arrives.
func listenDeaf(ctx context.Context, address string) (_ io.Closer, err error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	d := &deaf{fd: fd}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})),
		os.NewSyscallError("listen", unix.Listen(fd, 0)),
	)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	for range 16 {
		c, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(ctx, "tcp", address)
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		d.queue = append(d.queue, c)
	}
	return nil, fmt.Errorf("connections to %s do not hang: its queue takes more than %d", address, len(d.queue))
}

func (d *deaf) Close() error {
	err := os.NewSyscallError("close", unix.Close(d.fd))
	for _, c := range d.queue {
		_ = c.Close()
	}
	return err
}

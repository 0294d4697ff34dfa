package tap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	reservedPorts = "ipv4/ip_local_reserved_ports"
	localPorts    = "ipv4/ip_local_port_range"

	// longestPorts bounds the length of a list, in bytes: every other port.
	longestPorts = 1 << 15 * len("65535,")

	// fewestPorts is how many ports the host must keep to choose from.
	fewestPorts = 1024
)

// ReservePorts keeps the host from choosing the ports first to last for connections of
// its own, in the network namespace of the caller; programs may still bind them. What
// others reserved stays. Which ports were weft's doing stands in a file in the folder
// dir, so that restore, or after a crash the next call or RestorePorts, takes back just
// those. If a daemon that runs has reserved ports there, the error is ErrBusy. Restore
// may be called again.
func ReservePorts(dir string, first, last uint16) (restore func() error, err error) {
	r, err := reserve(dir, first, last)
	if err != nil {
		return nil, fmt.Errorf("reserve ports %d-%d: %w", first, last, err)
	}
	return r.end, nil
}

func reserve(dir string, first, last uint16) (*reservation, error) {
	if first == 0 || last < first {
		return nil, errors.New("that is no range of ports")
	}
	if err := RestorePorts(dir); err != nil {
		return nil, err
	}
	have, err := readPorts(reservedPorts, ",")
	if err != nil {
		return nil, err
	}
	var mine portSet
	mine.add(first, last)
	if err := leaveSome(have, &mine); err != nil {
		return nil, err
	}
	mine.remove(have)
	// In this order: the file may name too much for a moment, but never too little.
	r, err := newReservation(dir, mine)
	if err != nil {
		return nil, err
	}
	if err := addPorts(&mine); err != nil {
		return nil, errors.Join(err, r.forget())
	}
	return r, nil
}

// RestorePorts takes back what a process that crashed reserved in the network namespace
// of the caller. What a daemon that runs reserved stays, and the error is ErrBusy.
func RestorePorts(dir string) error {
	r, err := leftReservation(dir)
	if err == nil && r != nil {
		err = r.end()
	}
	if err != nil {
		return fmt.Errorf("restore reserved ports: %w", err)
	}
	return nil
}

// A reservation is the ports that weft reserved in a network namespace, as its file says.
type reservation struct {
	name string   // of the file
	file *os.File // locked while the process lives; nil: the reservation has ended
	mine portSet
}

// reservationName is the same for every process of a network namespace.
func reservationName(dir string) (string, error) {
	here, err := openPlace("")
	if err != nil {
		return "", err
	}
	defer here.close()
	inode, err := here.inode()
	return filepath.Join(dir, fmt.Sprintf("reserved-ports.%d", inode)), err
}

// newReservation writes the file, in one step.
func newReservation(dir string, mine portSet) (*reservation, error) {
	name, err := reservationName(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	r := &reservation{name: name, file: f, mine: mine}
	err = inOrder(
		r.lock,
		func() error { _, err := f.WriteString(mine.String() + "\n"); return err },
		func() error { return os.Rename(name+".new", name) },
	)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// leftReservation returns the reservation that a crash left, or nil.
func leftReservation(dir string) (*reservation, error) {
	name, err := reservationName(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &reservation{name: name, file: f}
	if err := r.lock(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	list, err := os.ReadFile(name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mine, err := parsePorts(string(list))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: remove the file", name, err), f.Close())
	}
	r.mine = *mine
	return r, nil
}

func (r *reservation) lock() error {
	err := unix.Flock(int(r.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w: another daemon has reserved ports (is a second weftd running?)", r.name, ErrBusy)
	}
	return err
}

// end takes the ports back.
func (r *reservation) end() error {
	if r.file == nil {
		return nil
	}
	have, err := readPorts(reservedPorts, ",")
	if err != nil {
		return err
	}
	left := *have
	left.remove(&r.mine)
	if left != *have {
		if err := writePorts(&left); err != nil {
			return err
		}
	}
	return r.forget()
}

// forget removes the file, and with it all memory of the reservation.
func (r *reservation) forget() error {
	err := os.Remove(r.name)
	if errors.Is(err, fs.ErrNotExist) { // somebody emptied the folder
		err = nil
	}
	err = errors.Join(err, r.file.Close())
	r.file = nil
	return err
}

// leaveSome refuses to take the last ports that the host chooses from.
func leaveSome(have, mine *portSet) error {
	all, err := readPorts(localPorts, "-")
	if err != nil {
		return err
	}
	all.remove(have)
	before := all.len()
	all.remove(mine)
	if after := all.len(); after < before && after < fewestPorts {
		return fmt.Errorf("only %d ports would be left for the host's own connections (net.ipv4.ip_local_port_range; want %d): reserve fewer", after, fewestPorts)
	}
	return nil
}

// readPorts reads a setting whose numbers a separator parts, in one read(2): the
// kernel gives no more than the first asks for, and cuts numbers in two.
func readPorts(path, separator string) (*portSet, error) {
	f, err := os.Open(settings + path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list := make([]byte, longestPorts)
	n, err := f.Read(list)
	if err != nil && !errors.Is(err, io.EOF) { // end of file: the list is empty
		return nil, err
	}
	return parsePorts(strings.Join(strings.Fields(string(list[:n])), separator))
}

// writePorts makes s the reserved ports.
func writePorts(s *portSet) error {
	// The line's end makes a write of it if the list is empty.
	if err := os.WriteFile(settings+reservedPorts, []byte(s.String()+"\n"), 0); err != nil {
		return explainSetting(reservedPorts, s.String(), err)
	}
	return nil
}

// addPorts reserves s besides what is reserved already: so the kernel takes what is
// written anywhere but at the start of the file, and no change by others is lost.
func addPorts(s *portSet) error {
	list := s.String()
	if list == "" {
		return nil
	}
	f, err := os.OpenFile(settings+reservedPorts, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(list+"\n"), 1)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return explainSetting(reservedPorts, list, err)
	}
	return nil
}

package tap

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func setReserved(t *testing.T, list string) {
	t.Helper()
	must(t, os.WriteFile(settings+reservedPorts, []byte(list+"\n"), 0))
}

// checkReserved compares, and looks into the folder for files that are left.
func checkReserved(t *testing.T, what, want, dir string, files int) {
	t.Helper()
	have, err := readPorts(reservedPorts, ",")
	must(t, err)
	if got := have.String(); got != want {
		t.Errorf("%s: reserved are %.200q, want %.200q", what, got, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	if len(left) != files {
		t.Errorf("%s: files %q, want %d", what, left, files)
	}
}

func TestReservePorts(t *testing.T) {
	isolate(t)
	dir := filepath.Join(t.TempDir(), "weft")
	for _, test := range []struct{ others, reserved string }{
		{"", "49152-65535"},
		{"8080", "8080,49152-65535"},
		{"8080,50000-50010", "8080,49152-65535"},
		{"40000-49151", "40000-65535"},
		{"49152-65535", "49152-65535"}, // nothing is left to do
		{"1-4000,60000-65535", "1-4000,49152-65535"},
	} {
		setReserved(t, test.others)
		restore, err := ReservePorts(dir, 49152, 65535)
		must(t, err)
		checkReserved(t, "reserved", test.reserved, dir, 1)
		must(t, restore())
		checkReserved(t, "restored", test.others, dir, 0)
		must(t, restore())
		checkReserved(t, "restored again", test.others, dir, 0)
	}
}

// A list that exceeds a page takes more than one write(2).
func TestReservePortsBesidesMany(t *testing.T) {
	isolate(t)
	var many portSet
	for p := 1; p < 40000; p += 17 {
		many.add(uint16(p), uint16(p))
	}
	must(t, writePorts(&many))
	dir := t.TempDir()
	restore, err := ReservePorts(dir, 49152, 65535)
	must(t, err)
	checkReserved(t, "reserved", many.String()+",49152-65535", dir, 1)
	must(t, restore())
	checkReserved(t, "restored", many.String(), dir, 0)
}

func TestReservePortsKeepsWhatOthersChanged(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	setReserved(t, "7000,50000")
	restore, err := ReservePorts(dir, 49152, 65535)
	must(t, err)
	// Another takes back 7000 and 60000-65535, and adds 9000.
	setReserved(t, "9000,49152-59999")
	must(t, restore())
	checkReserved(t, "restored", "9000,50000", dir, 0)
}

func TestReservePortsWithoutTheFile(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	restore, err := ReservePorts(dir, 49152, 65535)
	must(t, err)
	must(t, os.RemoveAll(dir))
	must(t, restore())
	checkReserved(t, "restored", "", dir, 0)
}

// reserveChild reserves ports and crashes.
func reserveChild() error {
	if _, err := ReservePorts(os.Getenv("DIR"), 50000, 50999); err != nil {
		return err
	}
	return ready()
}

func TestReservePortsAfterCrash(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	setReserved(t, "50500,8080")
	child := startChild(t, "reserve", "DIR="+dir)
	checkReserved(t, "child", "8080,50000-50999", dir, 1)
	if _, err := ReservePorts(dir, 49152, 65535); !errors.Is(err, ErrBusy) {
		t.Errorf("beside a daemon that runs: %v, want ErrBusy", err)
	}
	if err := RestorePorts(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("restored from a daemon that runs: %v, want ErrBusy", err)
	}
	crash(child)
	checkReserved(t, "crash", "8080,50000-50999", dir, 1)
	restore, err := ReservePorts(dir, 50900, 51000)
	must(t, err)
	checkReserved(t, "next start", "8080,50500,50900-51000", dir, 1)
	must(t, restore())
	checkReserved(t, "restored", "8080,50500", dir, 0)

	crash(startChild(t, "reserve", "DIR="+dir))
	must(t, RestorePorts(dir))
	checkReserved(t, "cleaned up", "8080,50500", dir, 0)
	must(t, RestorePorts(dir))
}

func TestReservePortsPerNamespace(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	other := newPlace(t)
	restore, err := ReservePorts(dir, 50000, 50999)
	must(t, err)
	var there func() error
	must(t, other.do(func() (err error) {
		there, err = ReservePorts(dir, 51000, 51999)
		return err
	}))
	checkReserved(t, "here", "50000-50999", dir, 2)
	must(t, restore())
	must(t, other.do(func() error {
		checkReserved(t, "there", "51000-51999", dir, 1)
		return there()
	}))
}

func TestReservePortsRefused(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	for _, test := range []struct {
		first, last uint16
		want        string
	}{
		{0, 100, "no range"},
		{200, 100, "no range"},
		{33000, 65535, "reserve fewer"},
		{1024, 65535, "net.ipv4.ip_local_port_range"},
	} {
		_, err := ReservePorts(dir, test.first, test.last)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d-%d: %v, want %q", test.first, test.last, err, test.want)
		}
	}
	checkReserved(t, "refused", "", dir, 0)
	// Who has but few ports anyway may keep those few.
	must(t, os.WriteFile(settings+localPorts, []byte("40000 40009"), 0))
	restore, err := ReservePorts(dir, 49152, 65535)
	must(t, err)
	must(t, restore())

	name, err := reservationName(dir)
	must(t, err)
	must(t, os.WriteFile(name, []byte("rubbish"), 0o600))
	if _, err := ReservePorts(dir, 49152, 65535); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("file of rubbish: %v", err)
	}
}

func TestReservePortsReadOnly(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	t.Setenv("DIR", dir)
	runChild(t, "read only", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
	checkReserved(t, "read only", "", dir, 0)
	// Who reserved them from outside needs nothing else.
	setReserved(t, "49152-65535")
	runChild(t, "reserved already", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
}

// sysReadOnly makes the settings as they are in most containers.
func sysReadOnly() error {
	const sys = "/proc/sys"
	if err := unix.Mount(sys, sys, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("", sys, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func reservedAlreadyChild() error {
	if err := sysReadOnly(); err != nil {
		return err
	}
	restore, err := ReservePorts(os.Getenv("DIR"), 49152, 65535)
	if err != nil {
		return err
	}
	return restore()
}

// readOnlyChild tries it where /proc/sys may not be written.
func readOnlyChild() error {
	if err := sysReadOnly(); err != nil {
		return err
	}
	_, err := ReservePorts(os.Getenv("DIR"), 49152, 65535)
	if err == nil {
		return errors.New("reserved")
	}
	for _, want := range []string{"reserve ports 49152-65535", "net.ipv4.ip_local_reserved_ports=49152-65535", "ProtectKernelTunables", "from outside"} {
		if !strings.Contains(err.Error(), want) {
			return errors.Join(errors.New("no "+want+" in"), err)
		}
	}
	return RestorePorts(os.Getenv("DIR"))
}

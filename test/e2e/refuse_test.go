package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"weft/test/lab"
)

var errNotYet = errors.New("not yet")

// What weftd cannot do without is told in one line with the remedy, and leaves
// nothing half made.
func TestStartNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.container("ct1", 13)
	for _, c := range []struct {
		name    string
		wrapper []string
		want    []string // one of them
	}{
		{
			"no /dev/net/tun",
			[]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /dev/net && exec "$0" "$@"`},
			[]string{"/dev/net/tun"},
		},
		{
			"no CAP_BPF",
			[]string{"setpriv", "--bounding-set=-bpf,-sys_admin"},
			[]string{"CAP_BPF"},
		},
		{
			"no CAP_NET_ADMIN",
			[]string{"setpriv", "--bounding-set=-net_admin,-sys_admin"},
			[]string{"CAP_NET_ADMIN"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := h.snapshot()
			w := h.hv.NewWeftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1, network: lan}
  - {name: ct1, network: lan, type: device}
`)
			out := w.Fails(c.wrapper...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("weftd says %q, want it to name %s", out, want)
				}
			}
			if after := h.snapshot(); after != before {
				t.Errorf("left behind:\n%s", lab.Difference(before, after))
			}
		})
	}
	h.Reaches(h.hv, addresses(outside)[0])
}

// A file that is not there is named.
func TestStartWithoutFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.NewWeftd("")
	if err := os.Remove(w.Config); err != nil {
		t.Fatal(err)
	}
	if out := w.Fails(); !strings.Contains(out, w.Config) {
		t.Errorf("weftd says %q, want it to name %s", out, w.Config)
	}
}

// A second daemon on the same socket is refused; one on the same devices gets none
// of them. The first one's guests notice neither.
func TestSecondDaemonHarmsNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, _, w := h.containers()
	ports := withoutStations(w)

	second := h.hv.NewWeftd(twoContainers)
	own := second.Socket
	second.Socket = w.Socket
	if out := second.Fails(); !strings.Contains(out, w.Socket) {
		t.Errorf("second weftd on the socket says %q, want it to name %s", out, w.Socket)
	}
	h.talks(a, 14)

	second.Socket = own
	second.Start()
	for _, p := range second.Ports() {
		if p.State == "up" {
			t.Errorf("second weftd: port %s is up, want it to wait for a device that is in use", p.Name)
		}
	}
	h.talks(a, 14)
	second.Stop()
	h.talks(a, 14)
	if got := withoutStations(w); !reflect.DeepEqual(got, ports) {
		t.Errorf("ports of the first weftd: %v, want %v", got, ports)
	}
}

// What is at the socket's path and is no daemon's socket is not removed.
func TestSocketPathTaken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.NewWeftd("networks: [{name: lab, mode: isolated}]\n")
	if err := os.WriteFile(w.Socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := w.Fails(); !strings.Contains(out, w.Socket) {
		t.Errorf("weftd says %q, want it to name %s", out, w.Socket)
	}
	if b, err := os.ReadFile(w.Socket); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q (%v), want it untouched", b, err)
	}
}

// A disk that is full refuses edits, whole, and nothing else.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.container("ct1", 13)
	h.container("ct2", 14)
	w := h.hv.NewWeftd(twoContainers)
	disk := h.Dir + "/disk"
	run(t, "mkdir", disk)
	run(t, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk)
	t.Cleanup(func() { run(t, "umount", "--lazy", disk) })
	w.Config = disk + "/weft.yaml"
	w.Edit(twoContainers)
	w.Start()
	w.Up("ct1", "ct2")
	ports := withoutStations(w)

	_ = exec.Command("dd", "if=/dev/zero", "of="+disk+"/filler", "bs=1k", "count=100").Run()
	_, err := w.Weft("port", "add", "vm1", "network=lab")
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("weft port add on a full disk: %v, want the disk named", err)
	}
	if got := withoutStations(w); !reflect.DeepEqual(got, ports) {
		t.Errorf("ports: %v, want %v", got, ports)
	}
	if b, err := os.ReadFile(w.Config); err != nil || string(b) != lab.Document(twoContainers) {
		t.Errorf("the file is %q (%v), want it unchanged", b, err)
	}
	h.talks(a, 14)

	t.Log("--runtime needs no disk; with room again, edits work")
	w.MustWeft("port", "add", "vm1", "network=lab", "--runtime")
	run(t, "rm", disk+"/filler")
	w.MustWeft("port", "add", "vm2", "network=lab")
	w.PortIs("vm2", "down")
}

// A file without write permission refuses edits unless they are for run time only.
func TestReadOnlyFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd("networks: [{name: lab, mode: isolated}]\n")
	if err := os.Chmod(w.Config, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Weft("port", "add", "vm1", "network=lab"); err == nil || !strings.Contains(err.Error(), "--runtime") {
		t.Errorf("weft port add with a read-only file: %v, want --runtime named", err)
	}
	if p := w.Ports(); len(p) > 0 {
		t.Errorf("ports: %+v, want none", p)
	}
	w.MustWeft("port", "add", "vm1", "network=lab", "--runtime")
	w.PortIs("vm1", "down")
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", fmt.Sprint(name, args), err, out)
	}
}

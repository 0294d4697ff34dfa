package tap

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package tap -output-stem attach attach bpf/attach.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu

// redirectIngress is BPF_F_INGRESS: redirect into the target's stack, not out.
const redirectIngress = 1

// A program is one of bpf/attach.c with its constants.
type program struct {
	name   string
	target int                  // ifindex to redirect to
	flags  uint64               // redirectIngress or 0
	maps   map[string]*ebpf.Map // those it uses, besides its device's states
}

// States are what a device's programs are for at present, as in bpf/attach.c.
type states uint32

const (
	stateRetired states = 1 << iota // every frame passes, wherever the device is by now
	stateBridged
	stateProxy
	stateClaims
)

// collection is what bpf/attach.c holds, parsed once.
var collection = sync.OnceValues(func() (*ebpf.CollectionSpec, error) {
	// Needed before 5.11 only, and there a failure shows when the program is loaded.
	_ = rlimit.RemoveMemlock()
	return loadAttach()
})

// load puts the program, and nothing else of the collection, into the kernel.
func (p program) load(now *ebpf.Map) (*ebpf.Program, error) {
	all, err := collection()
	if err != nil {
		return nil, err
	}
	spec := all.Copy()
	for name := range spec.Programs {
		if name != p.name {
			delete(spec.Programs, name)
		}
	}
	shared := map[string]*ebpf.Map{attachMapStates: now}
	maps.Copy(shared, p.maps)
	for name, m := range spec.Maps {
		if with := shared[name]; with != nil {
			m.MaxEntries = with.MaxEntries()
		} else if !strings.HasPrefix(name, sectionPrefix) {
			delete(spec.Maps, name)
		}
	}
	err = errors.Join(
		spec.Variables[attachVarTarget].Set(uint32(p.target)),
		spec.Variables[attachVarTargetFlags].Set(p.flags))
	if err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil {
		return nil, explainBPF(p.name, err)
	}
	defer c.Close()
	return c.DetachProgram(p.name), nil
}

// sectionPrefix begins the names of the maps that hold a program's constants.
const sectionPrefix = "."

// newMap makes one of the maps of bpf/attach.c, for at most size entries; 0: as many as
// it says there.
func newMap(name string, size int) (*ebpf.Map, error) {
	all, err := collection()
	if err != nil {
		return nil, err
	}
	spec := all.Maps[name].Copy()
	if size > 0 {
		spec.MaxEntries = uint32(size)
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, explainBPF("map "+name, err)
	}
	return m, nil
}

// setStates changes what the programs do, in one step.
func setStates(m *ebpf.Map, s states) error {
	return m.Put(uint32(0), uint32(s))
}

func explainBPF(what string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s: %w: %w: CAP_BPF and CAP_NET_ADMIN are needed (run as root, or set AmbientCapabilities=)", what, ErrNoBPF, err)
	}
	return fmt.Errorf("%s: %w: %w: Linux 5.10 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF is needed", what, ErrNoBPF, err)
}

// uses reports whether the program uses the map.
func uses(program ebpf.ProgramID, m ebpf.MapID) bool {
	p, err := ebpf.NewProgramFromID(program)
	if err != nil {
		return false
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return false
	}
	ids, _ := info.MapIDs()
	return slices.Contains(ids, m)
}

// guestsOf returns the map that a program of an earlier process uses, or nil.
func guestsOf(p *ebpf.Program) *ebpf.Map {
	info, err := p.Info()
	if err != nil {
		return nil
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		if i, err := m.Info(); err == nil && i.Name == attachMapGuests {
			return m
		}
		m.Close()
	}
	return nil
}

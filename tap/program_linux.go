package tap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package tap -output-stem attach attach bpf/attach.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu

// programPrefix is how the names of weft's programs begin, in the kernel too.
const programPrefix = "weft_"

// redirectIngress is BPF_F_INGRESS: redirect into the target's stack, not out.
const redirectIngress = 1

// A program is one of bpf/attach.c with its constants.
type program struct {
	name   string
	target int       // ifindex to redirect to
	flags  uint64    // redirectIngress or 0
	guests *ebpf.Map // for the programs of an uplink, else nil
}

// collection is what bpf/attach.c holds, parsed once.
var collection = sync.OnceValues(func() (*ebpf.CollectionSpec, error) {
	// Needed before 5.11 only, and there a failure shows when the program is loaded.
	_ = rlimit.RemoveMemlock()
	return loadAttach()
})

// globals is the name of the map of a program's variables that are not constant.
const globals = ".bss"

// load puts the program, and nothing else of the collection, into the kernel. The map
// holds its variables: see retire.
func (p program) load() (*ebpf.Program, *ebpf.Map, error) {
	all, err := collection()
	if err != nil {
		return nil, nil, err
	}
	spec := all.Copy()
	for name := range spec.Programs {
		if name != p.name {
			delete(spec.Programs, name)
		}
	}
	err = errors.Join(
		spec.Variables[attachVarTarget].Set(uint32(p.target)),
		spec.Variables[attachVarTargetFlags].Set(p.flags))
	if err != nil {
		return nil, nil, err
	}
	var o ebpf.CollectionOptions
	if p.guests == nil {
		delete(spec.Maps, attachMapGuests)
	} else {
		o.MapReplacements = map[string]*ebpf.Map{attachMapGuests: p.guests}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, o)
	if err != nil {
		return nil, nil, explainBPF(p.name, err)
	}
	defer c.Close()
	return c.DetachProgram(p.name), c.DetachMap(globals), nil
}

// retire makes a program let every frame pass, wherever its device is by now. Of
// the variables there is only the one that says so.
func retire(variables *ebpf.Map) error {
	return variables.Put(uint32(0), bytes.Repeat([]byte{1}, int(variables.ValueSize())))
}

func explainBPF(what string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s: %w: %w: CAP_BPF and CAP_NET_ADMIN are needed (run as root, or set AmbientCapabilities=)", what, ErrNoBPF, err)
	}
	return fmt.Errorf("%s: %w: %w: Linux 5.2 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF is needed", what, ErrNoBPF, err)
}

// newGuests makes the map of the guests behind an uplink.
func newGuests() (*ebpf.Map, error) {
	all, err := collection()
	if err != nil {
		return nil, err
	}
	m, err := ebpf.NewMap(all.Maps[attachMapGuests])
	if err != nil {
		return nil, explainBPF("map of guests", err)
	}
	return m, nil
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

func isOurs(programName string) bool { return strings.HasPrefix(programName, programPrefix) }

package guest

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// A Hook says where Redirect takes frames, and how it passes them on.
type Hook string

// The hooks.
const (
	TC   Hook = "tc"   // at the ingress of the device, out by the other one
	Peer Hook = "peer" // there too, straight into the namespace behind the other one, a veth
	XDP  Hook = "xdp"  // in the driver
)

// Redirect makes the kernel carry every frame that comes in by one of the two devices
// out by the other, whatever it is, until the closer is closed: the least that a
// switch can do.
func Redirect(hook Hook, a, b string) (io.Closer, error) {
	there, err := redirect(hook, a, b)
	if err != nil {
		return nil, err
	}
	back, err := redirect(hook, b, a)
	if err != nil {
		return nil, errors.Join(err, there.Close())
	}
	return both{there, back}, nil
}

type both [2]io.Closer

func (b both) Close() error { return errors.Join(b[0].Close(), b[1].Close()) }

// redirect attaches a program of four instructions to one device.
func redirect(hook Hook, from, to string) (io.Closer, error) {
	in, errIn := net.InterfaceByName(from)
	out, errOut := net.InterfaceByName(to)
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, fmt.Errorf("redirect from %s to %s: %w", from, to, err)
	}
	helper, kind := asm.FnRedirect, ebpf.SchedCLS
	switch hook {
	case Peer:
		helper = asm.FnRedirectPeer
	case XDP:
		kind = ebpf.XDP
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind,
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R1, int32(out.Index)),
			asm.Mov.Imm(asm.R2, 0), // flags
			helper.Call(),
			asm.Return(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("redirect from %s to %s: %w", from, to, err)
	}
	defer program.Close() //nolint:errcheck // the link holds it
	if hook == XDP {
		return link.AttachXDP(link.XDPOptions{Program: program, Interface: in.Index, Flags: link.XDPDriverMode})
	}
	return link.AttachTCX(link.TCXOptions{Program: program, Interface: in.Index, Attach: ebpf.AttachTCXIngress})
}

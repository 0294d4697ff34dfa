package tap

import (
	"errors"

	"weft/frame"
)

// A Device is the attachment to one netdev: companion TAP, tc programs, queues.
type Device struct{ *attachment }

// AttachDevice attaches to the netdev name, or takes over an attachment that an
// earlier process left. Frames of the netdev go to the queues and nowhere else. The
// netdev is brought up, last of all.
func AttachDevice(name string, mtu int) (*Device, error) {
	a, err := attachTo(name, mtu, roleCompanion)
	if err != nil {
		return nil, err
	}
	if err := a.connectDevice(); err != nil {
		return nil, errors.Join(err, a.abandon())
	}
	return &Device{a}, nil
}

// connectDevice places the programs before anything is up: not one frame gets past
// them into the host's stack.
func (a *attachment) connectDevice() (err error) {
	n, c := a.device, a.companions[0]
	if c.queue.out, err = openSocket(n); err != nil {
		return err
	}
	guard := program{name: attachProgWeftGuard}
	toSwitch := program{name: attachProgWeftRedirect, target: c.link.Attrs().Index}
	return inOrder(
		func() error { return a.place(c.link, egress, guard) },
		func() error { return a.place(n, egress, guard) },
		func() error { return a.place(n, ingress, toSwitch) },
		func() error { return setUp(c.link) },
		func() error { return setUp(n) },
	)
}

// inOrder takes the steps up to the first that fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Queues returns the queues to read from and write to.
func (d *Device) Queues() []*Queue { return []*Queue{d.companions[0].queue} }

// Features returns what may be left undone in frames sent there.
func (d *Device) Features() frame.Features { return d.features() }

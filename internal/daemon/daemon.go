// Package daemon is the hall that sees all rooms: it leads the running switch from
// one configuration to the next, follows the devices of the host, and answers the
// API.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"weft/config"
	"weft/fastpath"
	"weft/frame"
	"weft/route/rtnl"
	vswitch "weft/switch"
	"weft/tap"
)

// Options say how a Daemon is made.
type Options struct {
	Version    string
	ConfigPath string
	StateDir   string // where leases are kept
	RunDir     string // what is to be known after a crash
	Log        *zap.Logger
}

// A Daemon is a running configuration.
type Daemon struct {
	opts    Options
	log     *zap.Logger
	kernel  kernel
	sw      *vswitch.Switch
	started time.Time

	mu       sync.Mutex
	cfg      *config.Config      // what runs; guarded by mu, as all below
	document *config.Document    // the text it came from
	networks map[string]*network // by name
	ports    map[string]*port    // by name
	mirrors  map[string]*mirror  // by name of the port
	segments map[string]*network // by NIC: see segment.go
	layer3   *layer3
	flows    flows
}

// New makes a Daemon for the document doc. Run starts it.
func New(doc *config.Document, o Options) (*Daemon, error) {
	return newDaemon(doc, o, &realKernel{resolver: rtnl.NewResolver(), runDir: o.RunDir})
}

func newDaemon(doc *config.Document, o Options, k kernel) (*Daemon, error) {
	d := &Daemon{
		opts: o, log: o.Log, kernel: k, started: time.Now(),
		cfg: &config.Config{}, document: doc,
		networks: map[string]*network{}, ports: map[string]*port{}, mirrors: map[string]*mirror{},
		segments: map[string]*network{},
		flows: flows{
			ports: map[frame.PortID]fastpath.Port{}, fronts: map[fronted]bool{}, places: map[fronted]place{}, drivers: map[frame.PortID]*driver{},
		},
	}
	c := doc.Config().Switch
	var err error
	d.sw, err = vswitch.New(vswitch.Config{Workers: c.Workers, Stations: c.Stations, Memory: &d.flows, QueueFailed: d.queueFailed})
	if err != nil {
		return nil, fmt.Errorf("making the switch: %w", err)
	}
	if d.layer3, err = newLayer3(d, c.Sessions); err != nil {
		return nil, errors.Join(err, d.sw.Close())
	}
	return d, nil
}

// Run carries frames until ctx ends. ready is called once every port is attached
// that can be. When Run returns the devices are still attached: see Remove, Leave.
func (d *Daemon) Run(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	known := make(chan struct{})
	g.Go(func() error { return d.followHost(ctx, sync.OnceFunc(func() { close(known) })) })
	select {
	case <-known: // networks with a gateway go by what the host has
	case <-ctx.Done():
		return g.Wait()
	}
	if err := d.start(); err != nil {
		g.Go(func() error { return err })
		return g.Wait()
	}
	g.Go(func() error { return d.sw.Run(ctx) })
	d.openFlows()
	g.Go(func() error { d.runFlows(ctx); return nil })
	g.Go(func() error { return d.kernel.Watch(ctx, d.linkChanged) })
	g.Go(func() error { d.runRepairs(ctx); return nil })
	g.Go(func() error { d.layer3.run(ctx, d.sw.Now); return nil })
	ready()
	return g.Wait()
}

// start takes over what an earlier process left, as far as the document names it,
// and removes the rest.
func (d *Daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.document.Config()
	var ways []string
	for _, n := range next.Networks {
		ways = append(ways, d.layer3.ways(n)...)
	}
	removed, err := d.kernel.Sweep(func(device string, as tap.Use) bool { return uses(next, ways, device, as) })
	for _, r := range removed {
		d.log.Info("removed what an earlier start left", zap.String(keyDevice, r))
	}
	if err != nil {
		d.log.Warn("removing what an earlier start left failed in part", zap.Error(err))
	}
	if _, err = d.applyLocked(next, true); err != nil {
		return err
	}
	d.warn(d.restoreSessionsLocked(), "taking over NAT sessions failed in part", "host")
	return nil
}

// uses reports whether c has that use for the device.
func uses(c *config.Config, ways []string, device string, as tap.Use) bool {
	if as == tap.Attached && (hasUplink(c, device) || slices.Contains(ways, device)) {
		return true
	}
	if as == tap.MadeGateway {
		return slices.ContainsFunc(c.Networks, func(n config.Network) bool {
			return n.Mode.HasGateway() && gatewayDevice(n.Name) == device
		})
	}
	return slices.ContainsFunc(c.Ports, func(p config.Port) bool {
		switch {
		case p.Device != device:
			return false
		case as == tap.MadeTAP:
			return p.Type == config.PortTAP
		case as == tap.MadeHostPort:
			return p.Type == config.PortHost
		}
		return p.Type != config.PortHost
	})
}

// Remove takes everything down that weft made. Run must have returned.
func (d *Daemon) Remove() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.applyLocked(&config.Config{}, true)
	// What an earlier start left to ports that never attached.
	_, left := d.kernel.Sweep(func(string, tap.Use) bool { return false })
	return errors.Join(err, left, d.layer3.forwards.Close(), d.sw.Close())
}

// Leave lets go of everything and leaves it in the kernel, where the next start
// takes it over: guests keep their devices, the host its traffic. Run must have
// returned.
func (d *Daemon) Leave() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flows.cache.Store(nil) // or it would forget what rests on ports that the switch gives up
	err := errors.Join(d.sw.Close(), d.layer3.forwards.Close(), d.saveSessionsLocked())
	for _, p := range d.ports {
		if p.att != nil {
			err = errors.Join(err, p.att.Release())
		}
	}
	err = errors.Join(err, d.leaveGatewaysLocked())
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.up != nil {
				err = errors.Join(err, u.up.Release())
			}
		}
	}
	return err
}

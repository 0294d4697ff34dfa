package daemon

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"weft/frame"
	vswitch "weft/switch"
	"weft/tap"
)

// A gateway is the host's place in a network of layer 3: a host port with the
// gateway's addresses, in front of which stands the router, and what is served there.
type gateway struct {
	device string
	realm  uint16   // of NAT
	att    hostPort // nil: not up, see fault
	id     frame.PortID
	link   tap.Link
	fault  error
	services
}

// gatewayDevice returns the name of a network's gateway on the host, which none of
// weft's other devices has.
func gatewayDevice(network string) string {
	const prefix, longest = "wf-g-", 15 // IFNAMSIZ
	if len(prefix+network) <= longest {
		return prefix + network
	}
	return fmt.Sprintf("%s%x", prefix, sha256.Sum256([]byte(network)))[:longest]
}

// gatewayMAC returns an address for a network's gateway that is the same at every
// start of this host: guests keep it in their caches.
func gatewayMAC(network string) frame.MAC {
	host, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		name, _ := os.Hostname() // better than nothing
		host = []byte(name)
	}
	h := sha256.Sum256(append(host, network...))
	const locally, individual = 0x02, 0xfe
	h[0] = h[0]&individual | locally
	return frame.MACFrom(h[:])
}

// raiseGatewayLocked gives a network its gateway.
func (d *Daemon) raiseGatewayLocked(n *network) error {
	n.gateway = &gateway{device: gatewayDevice(n.cfg.Name), realm: d.layer3.realm(n.cfg.Name)}
	return d.openGatewayLocked(n)
}

// openGatewayLocked makes the gateway's device and puts it into the switch.
func (d *Daemon) openGatewayLocked(n *network) error {
	g := n.gateway
	g.fault = d.makeGatewayLocked(n)
	if g.fault != nil {
		return g.fault
	}
	d.mirrorLocked(n.cfg.Name+gatewaySuffix, g.id)
	d.announceGatewayLocked(n)
	d.log.Info("gateway up", zap.String(keyNetwork, n.cfg.Name), zap.String(keyDevice, g.device))
	return nil
}

func (d *Daemon) makeGatewayLocked(n *network) error {
	g := n.gateway
	if err := d.layer3.overlap(n.cfg); err != nil {
		return err
	}
	att, err := d.kernel.OpenHost(n.gatewayConfig())
	if err != nil {
		return err
	}
	g.link = d.link(g.device)
	g.id, err = d.sw.AddPort(d.gatewayPort(n, att))
	if err != nil {
		return errors.Join(err, att.Close())
	}
	g.att = att
	if err := d.serveLocked(n); err != nil {
		out, err2 := d.unplugGatewayLocked(n)
		return errors.Join(err, err2, out.Close())
	}
	return nil
}

func (n *network) gatewayConfig() tap.HostConfig {
	return tap.HostConfig{
		Name: n.gateway.device, Port: n.cfg.Name, MAC: gatewayMAC(n.cfg.Name), Addresses: n.cfg.Subnets,
		MTU: n.cfg.MTU, Offloads: true, Gateway: true,
	}
}

func (d *Daemon) gatewayPort(n *network, att hostPort) vswitch.PortConfig {
	return vswitch.PortConfig{
		Name: n.cfg.Name + gatewaySuffix, Network: n.fid, Queues: att.Queues(), Features: att.Features(),
		MTU: n.cfg.MTU, Static: n.staticOf(n.cfg.Name+gatewaySuffix, att.MAC()), State: vswitch.Forwarding,
		Router: d.layer3.router,
	}
}

// updateGatewayLocked brings the gateway to what n.cfg says, in place.
func (d *Daemon) updateGatewayLocked(n *network) error {
	g := n.gateway
	if g == nil {
		return nil
	}
	if g.att == nil {
		return d.openGatewayLocked(n)
	}
	if err := d.layer3.overlap(n.cfg); err != nil {
		return err
	}
	return errors.Join(
		g.att.Update(n.gatewayConfig()),
		d.sw.UpdatePort(g.id, d.gatewayPort(n, g.att)),
		d.serveLocked(n),
	)
}

// unplugGatewayLocked takes the gateway out of the switch. What becomes of its device is
// for the caller to say.
func (d *Daemon) unplugGatewayLocked(n *network) (leftover, error) {
	g := n.gateway
	if g.att == nil {
		return nothing{}, nil
	}
	att := g.att
	err := d.unserve(n, false) // the farewell needs the port
	g.att = nil
	return att, errors.Join(err, d.sw.UpdateNetwork(n.fid, n.switchConfig()), d.sw.RemovePort(g.id))
}

// Farewell tells guests that their gateways go away. It is for before Run ends: what is
// sent later is carried by nobody.
func (d *Daemon) Farewell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if n.gateway != nil && n.gateway.server != nil {
			n.gateway.server.Farewell()
		}
	}
}

// closeGatewayLocked takes the gateway down. It stays wanted.
func (d *Daemon) closeGatewayLocked(n *network) error {
	att, err := d.unplugGatewayLocked(n)
	return errors.Join(err, att.Close())
}

// gatewayLinkLocked follows the gateway's device: somebody may have deleted it.
func (d *Daemon) gatewayLinkLocked(n *network) {
	g := n.gateway
	l := d.link(g.device)
	replaced := g.att != nil && l.Index != g.link.Index
	g.link = l
	if replaced {
		d.warn(d.closeGatewayLocked(n), "gateway vanished", n.cfg.Name)
		g.fault = fmt.Errorf("%s: %w", g.device, tap.ErrNoDevice)
	}
}

// leaveGatewaysLocked lets go of the gateways and leaves their devices.
func (d *Daemon) leaveGatewaysLocked() error {
	var errs []error
	for _, n := range d.networks {
		if n.gateway != nil && n.gateway.att != nil {
			errs = append(errs, d.unserve(n, true), n.gateway.att.Release())
		}
	}
	return errors.Join(errs...)
}

// gatewaySuffix makes the name of a gateway's port from that of its network.
const gatewaySuffix = ":gateway"

func (g *gateway) member(n *network) member {
	m := member{name: n.cfg.Name + gatewaySuffix, device: g.device, key: g.device, kind: kindGateway, net: n, mtu: n.cfg.MTU}
	if g.att == nil {
		m.state, m.detail = faultState(g.fault)
		return m
	}
	m.id, m.features, m.queues, m.mac = g.id, g.att.Features(), len(g.att.Queues()), g.att.MAC()
	m.state = stateUp
	return m
}

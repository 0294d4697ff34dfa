package daemon

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"weft/config"
	"weft/frame"
	"weft/internal/control/api"
)

// Severities of findings.
const (
	sevOK      = "ok"
	sevWarning = "warning"
	sevError   = "error"
)

// Doctor implements control.Engine: what keeps frames from where they should go,
// and what to do about it.
func (d *Daemon) Doctor() []api.Finding {
	list := hostFindings()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waysLocked()) > 0 {
		list = append(list, d.layer3Findings()...)
	}
	list = append(list, d.cacheFindings()...)
	for _, c := range d.cfg.Ports {
		list = append(list, d.portFindings(d.ports[c.Name])...)
	}
	for _, n := range d.segmentsLocked() {
		list = append(list, d.networkFindings(n)...)
		if n.gateway != nil {
			list = append(list, d.gatewayFindings(n)...)
		}
	}
	if !slices.ContainsFunc(list, func(f api.Finding) bool { return f.Severity != sevOK }) {
		list = append(list, api.Finding{Severity: sevOK, Subject: "weft", Text: "nothing to report"})
	}
	return list
}

func hostFindings() []api.Finding {
	var list []api.Finding
	if err := unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK); err != nil {
		list = append(list, api.Finding{
			Severity: sevError, Subject: "host", Text: fmt.Sprintf("/dev/net/tun cannot be used: %v", err),
			Remedy: "modprobe tun; in a container or unit, let the device in (DeviceAllow=/dev/net/tun rw)",
		})
	} else {
		list = append(list, api.Finding{Severity: sevOK, Subject: "host", Text: "/dev/net/tun can be used"})
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		list = append(list, api.Finding{Severity: sevOK, Subject: "host", Text: "kernel " + unix.ByteSliceToString(u.Release[:])})
	}
	for _, m := range []string{"NetworkManager", "systemd/network"} {
		if _, err := os.Stat("/run/" + m); err == nil {
			list = append(list, api.Finding{
				Severity: sevOK, Subject: "host", Text: m + " runs here",
				Remedy: "make sure that it leaves wf-* alone; `make install` brings the snippets that say so",
			})
		}
	}
	return list
}

// cacheFindings tells why there is no flow cache, though the document wants one.
func (d *Daemon) cacheFindings() []api.Finding {
	if d.flows.fault == nil || off(d.cfg.Switch) {
		return nil
	}
	return []api.Finding{{
		Severity: sevWarning, Subject: "host", Text: fmt.Sprintf("all frames come to weft: %v", d.flows.fault),
		Remedy: "mend that and systemctl restart weftd, or say switch: {fastpath: off}: weft is slower without its flow cache, but lacks nothing",
	}}
}

func (d *Daemon) portFindings(p *port) []api.Finding {
	m := p.member()
	subject := "port " + m.name
	switch {
	case m.state == stateWaiting:
		return []api.Finding{{Severity: sevWarning, Subject: subject, Text: m.detail, Remedy: "the port attaches by itself once that is mended"}}
	case m.state == stateError:
		return []api.Finding{{Severity: sevError, Subject: subject, Text: m.detail, Remedy: "mend the cause; the port is tried again every few seconds"}}
	case m.state == stateDown && p.cfg.Type == config.PortTAP:
		return []api.Finding{{Severity: sevWarning, Subject: subject, Text: m.detail, Remedy: qemuLine(p.cfg)}}
	case m.state == stateDown:
		return []api.Finding{{Severity: sevWarning, Subject: subject, Text: m.detail}}
	}
	list := []api.Finding{{Severity: sevOK, Subject: subject, Text: "up in network " + p.net.cfg.Name}}
	if m.detail != "" {
		list = append(list, api.Finding{Severity: sevWarning, Subject: subject, Text: m.detail})
	}
	if v := d.flows.drivers[m.id]; v != nil && v.fault != nil {
		list = append(list, api.Finding{
			Severity: sevWarning, Subject: subject, Text: fmt.Sprintf("XDP is left off: %v", v.fault),
			Remedy: fmt.Sprintf("mend that, then weft port set %s fastpath=on, and =xdp again", m.name),
		})
	}
	if p.link.MTU != 0 && p.link.MTU != p.net.cfg.MTU {
		list = append(list, mtuFinding(subject, p.cfg.Device, p.link.MTU, p.net.cfg))
	}
	return append(list, d.dropFindings(subject, m.id)...)
}

// qemuLine is how to open a port's TAP, with the setting whose lack QEMU answers
// with EINVAL.
func qemuLine(p config.Port) string {
	s := fmt.Sprintf("start the guest with -netdev tap,id=n0,ifname=%s,script=no,downscript=no", p.Device)
	if p.Queues > 1 {
		s += fmt.Sprintf(",queues=%d (without queues= QEMU gets EINVAL from this multi-queue TAP)", p.Queues)
	} else {
		s += " (with queues= QEMU gets EINVAL from this single-queue TAP)"
	}
	return s
}

func mtuFinding(subject, device string, mtu int, n config.Network) api.Finding {
	return api.Finding{
		Severity: sevWarning, Subject: subject,
		Text:   fmt.Sprintf("%s has MTU %d, network %s has %d: longer frames are dropped as oversize", device, mtu, n.Name, n.MTU),
		Remedy: fmt.Sprintf("ip link set %s mtu %d, or set the network's mtu to %d", device, n.MTU, mtu),
	}
}

func (d *Daemon) networkFindings(n *network) []api.Finding {
	var list []api.Finding
	for _, u := range n.uplinks {
		subject := "uplink " + u.name
		switch state, detail := u.wireStatus(); state {
		case stateUp, stateStandby:
			list = append(list, api.Finding{Severity: sevOK, Subject: subject, Text: state + " in " + u.place()})
		case stateError:
			list = append(list, api.Finding{Severity: sevError, Subject: subject, Text: detail, Remedy: "mend the cause; the NIC is tried again every few seconds"})
		case stateWaiting:
			list = append(list, api.Finding{Severity: sevWarning, Subject: subject, Text: detail, Remedy: "it attaches by itself once that is mended; or name another NIC in uplinks"})
		default:
			list = append(list, api.Finding{Severity: sevWarning, Subject: subject, Text: detail})
		}
		if u.up == nil {
			continue
		}
		if u.bridged() && u.link.MTU < n.cfg.MTU {
			list = append(list, mtuFinding(subject, u.name, u.link.MTU, n.cfg))
		}
		list = append(list, d.dropFindings(subject+" (wire)", u.wire)...)
		list = append(list, d.dropFindings(subject+" (host)", u.host)...)
	}
	if f := n.guests.failed.Load(); f > 0 {
		list = append(list, api.Finding{
			Severity: sevWarning, Subject: "network " + n.cfg.Name,
			Text: fmt.Sprintf("the kernel did not take %d updates of the table of guests: the host may not reach some of them", f),
		})
	}
	return list
}

// dropFindings names the drops that something is wrong behind. The others are what
// a bridge does in health.
func (d *Daemon) dropFindings(subject string, id frame.PortID) []api.Finding {
	c, err := d.sw.Counters(id)
	if err != nil {
		return nil
	}
	var list []api.Finding
	for _, r := range []frame.Reason{
		frame.DropRunt, frame.DropOversize, frame.DropBadOffload, frame.DropBadSource,
		frame.DropSpoofedStatic, frame.DropQueueFull, frame.DropDeviceError, frame.DropTinySegments,
		frame.DropSpoofedGateway, frame.DropRogueDHCP, frame.DropRogueRA, frame.DropServiceBusy,
		frame.DropNATNoPort, frame.DropNATFull, frame.DropNATQuota, frame.DropBadFragment,
	} {
		if n := c.Drops[r]; n > 0 {
			list = append(list, api.Finding{
				Severity: sevWarning, Subject: subject, Text: fmt.Sprintf("%d frames dropped as %s", n, r), Remedy: r.Help(),
			})
		}
	}
	if c.LearnLimit > 0 {
		list = append(list, api.Finding{
			Severity: sevWarning, Subject: subject, Text: fmt.Sprintf("%d frames came from stations that were not learned", c.LearnLimit),
			Remedy: "a limit of stations was reached: raise `stations` of the port, the network or the switch, or find the guest that makes up addresses",
		})
	}
	return list
}

package dns

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// resolvers are who is asked for what the gateway does not know itself.
type resolvers struct {
	fixed []netip.AddrPort // given by the operator
	file  *resolvConf      // nil: fixed
	own   []netip.AddrPort // where this server listens: to ask itself would not end
}

// get returns the resolvers in the order in which to ask them.
func (r *resolvers) get() []netip.AddrPort {
	if r.file == nil {
		return r.fixed
	}
	return without(r.file.servers(time.Now()), r.own)
}

// without returns the servers that are not our own.
func without(servers, own []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(servers), func(s netip.AddrPort) bool { return slices.Contains(own, s) })
}

// A resolvConf follows the file of the host's resolvers (resolv.conf(5)), which DHCP
// clients, VPNs and systemd-resolved write anew.
type resolvConf struct {
	path   string
	report func(error)

	mu      sync.Mutex
	checked time.Time   // when the file was looked at; guarded by mu
	info    os.FileInfo // as it was read; nil: it was not; guarded by mu
	known   []netip.AddrPort
}

// recheck is how long the file is believed not to have changed.
const recheck = time.Second

// servers returns the resolvers that the file names. If it vanishes, those stay that it
// named last: it is being written.
func (f *resolvConf) servers(now time.Time) []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.checked.IsZero() && now.Sub(f.checked) < recheck {
		return f.known
	}
	first := f.checked.IsZero()
	f.checked = now
	info, err := os.Stat(f.path)
	if err == nil && f.info != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return f.known
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(f.path)
	}
	if err != nil {
		if first || f.info != nil {
			f.report(fmt.Errorf("DNS: the host's resolvers are not known: %w", err))
		}
		f.info = nil
		if first {
			f.known = parseResolvConf(nil)
		}
		return f.known
	}
	f.info, f.known = info, parseResolvConf(text)
	return f.known
}

// parseResolvConf returns the addresses of the nameserver lines; without any, it is the
// host itself (resolv.conf(5)).
func parseResolvConf(text []byte) (servers []netip.AddrPort) {
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(thisHost(a.Unmap()), defaultPort))
		}
	}
	if len(servers) == 0 {
		servers = []netip.AddrPort{netip.AddrPortFrom(loopback4, defaultPort)}
	}
	return servers
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// thisHost returns a, or, if it is 0.0.0.0 or ::, what that means: this host.
func thisHost(a netip.Addr) netip.Addr {
	switch {
	case !a.IsUnspecified():
		return a
	case a.Is4():
		return loopback4
	}
	return netip.IPv6Loopback()
}

package tap

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// GatewayLinkLocal is the address that every gateway has besides its own, each on a
// link of its own: what guests have as their IPv6 router.
var GatewayLinkLocal = netip.MustParsePrefix("fe80::1/64")

// gatewaySettings make the host's stack a plain host towards guests, which believes
// nothing they say about routes and addresses, whether it forwards elsewhere or not, and
// answers nobody who is not there: the answer would leave by another device, as it is.
// A secondary address must outlive the primary one when the document changes, and what
// an administrator says of IPv6 on all devices is about the host's way out.
var gatewaySettings = []struct{ family, name, value string }{
	{"ipv4", "accept_redirects", "0"},
	{"ipv4", "arp_ignore", "1"},
	{"ipv4", "drop_unicast_in_l2_multicast", "1"},
	{"ipv4", "forwarding", "0"},
	{"ipv4", "promote_secondaries", "1"},
	{"ipv4", "rp_filter", "1"},
	{"ipv6", "disable_ipv6", "0"},
	{"ipv6", "accept_ra", "0"},
	{"ipv6", "accept_redirects", "0"},
	{"ipv6", "autoconf", "0"},
	{"ipv6", "drop_unicast_in_l2_multicast", "1"},
}

// becomeGateway prepares the kernel side of a gateway before it has an address or is up.
func (h *Host) becomeGateway(at place, l netlink.Link) error {
	name := l.Attrs().Name
	for _, s := range gatewaySettings {
		if err := writeSetting(s.family+"/conf/"+name+"/"+s.name, s.value); err != nil {
			return err
		}
	}
	const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE
	if err := at.LinkSetIP6AddrGenMode(l, addrGenModeNone); err != nil && !withoutIPv6(err) {
		return fmt.Errorf("keep it from making IPv6 addresses: %w", explain(err))
	}
	a := &attachment{hook: hooks()[0]}
	if _, err := a.hook.prepare(l); err != nil {
		return err
	}
	return a.place(l, egress, program{name: attachProgWeftGateway})
}

// withoutIPv6 recognises a kernel that has no IPv6 at all.
func withoutIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

const settings = "/proc/sys/net/"

// writeSetting makes a setting of the namespace, by its path below settings, what
// it should be. What a kernel without the family lacks needs no setting.
func writeSetting(path, value string) error {
	now, err := os.ReadFile(settings + path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(settings+path, []byte(value), 0)
	}
	if err != nil {
		return explainSetting(path, value, err)
	}
	return nil
}

// explainSetting says how a setting that weft may not write can be made all the same.
func explainSetting(path, value string, err error) error {
	name := "net." + strings.ReplaceAll(path, "/", ".")
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("set %s=%s: %w: let the container or service write /proc/sys (ProtectKernelTunables=no), or make the setting from outside", name, value, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("set %s=%s: %w: run as root", name, value, err)
	}
	return fmt.Errorf("set %s=%s: %w", name, value, err)
}

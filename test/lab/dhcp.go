package lab

import (
	"errors"
	"fmt"
	"strings"
)

// A Client is a DHCP client of the field. Its own scripts set addresses, routes and
// resolv.conf.
type Client struct {
	Name   string
	Script string // run by sh in the namespace's own files; $1 is the device
	// Kernel says that IPv6 is the kernel's business, by router advertisements.
	Kernel bool
}

// Clients are those that the guests of a hypervisor run.
var Clients = []Client{
	{Name: "udhcpc", Script: `exec udhcpc -f -i "$1"`, Kernel: true},
	{Name: "dhclient", Script: `exec dhclient -4 -d -1 "$1"`, Kernel: true},
	{Name: "dhcpcd", Script: `exec dhcpcd -B "$1"`},
	{Name: "networkd", Script: `mkdir -p /etc/systemd/network /run/systemd/netif/links /run/systemd/netif/leases
chown -R systemd-network: /run/systemd/netif
printf '[Match]\nName=%s\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n' "$1" >/etc/systemd/network/guest.network
mount -t sysfs -o ro guest /sys # as in a container: nobody waits for udev
exec /lib/systemd/systemd-networkd`},
}

// Ask starts the client on the device, which has no address, and waits until it has a
// way to everywhere in both families, and resolvers. The client runs until stop.
func (n *NS) Ask(c Client, dev string) (stop func()) {
	n.lab.Helper()
	solicitations := 0
	if c.Kernel {
		solicitations = 3
	}
	n.Run("sysctl -qw net.ipv6.conf.%[1]s.router_solicitations=%[2]d net.ipv6.conf.%[1]s.router_solicitation_delay=0", dev, solicitations)
	// The kernel solicits routers when the link comes up.
	n.Run("ip link set %[1]s down && ip link set %[1]s up", dev)
	words := append(n.Own(), "sh", "-euc", c.Script, "sh", dev)
	stop = n.Background(words[0], words[1:]...)
	n.lab.configured(n, dev)
	n.lab.Until("resolvers by "+c.Name, func() error { // which its script sets last
		if len(n.Nameservers()) == 0 {
			return errors.New("none")
		}
		return nil
	})
	return stop
}

// configured waits until the device has an address and a default route in each family.
func (l *Lab) configured(s Station, dev string) {
	l.Helper()
	l.Until("addresses of "+dev, func() error {
		for _, f := range Families {
			out, err := s.Sh(l.Context(), fmt.Sprintf("ip %s route | grep '^default.* dev %s'", f.Version, dev))
			if err != nil {
				return fmt.Errorf("no default route of %s: %w %s", f.Name, err, out)
			}
			if len(l.Holds(s, dev, f)) == 0 {
				return fmt.Errorf("no address of %s", f.Name)
			}
		}
		return nil
	})
}

// Holds returns the station's global addresses of one family at a device.
func (l *Lab) Holds(s Station, dev string, f Family) []string {
	l.Helper()
	out, err := s.Sh(l.Context(), fmt.Sprintf("ip %s -o addr show dev %s scope global", f.Version, dev))
	if err != nil {
		l.Fatalf("ip addr: %v: %s", err, out)
	}
	var addrs []string
	for line := range strings.Lines(out) {
		var index, name, family, prefix string
		if _, err := fmt.Sscan(line, &index, &name, &family, &prefix); err != nil {
			l.Fatalf("ip addr: %q: %v", line, err)
		}
		address, _, _ := strings.Cut(prefix, "/")
		addrs = append(addrs, address)
	}
	return addrs
}

package lab

import (
	"os"
	"path/filepath"
	"strings"
)

// private makes a mount namespace in which /etc and /var/lib are the machine's with what
// is written there kept in folder $0, and /run is that folder's.
const private = `mkdir -p "$0/work/etc" "$0/work/lib" "$0/lib" "$0/run/netns"
mount -t overlay etc -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work/etc" /etc
mount -t overlay lib -o "lowerdir=/var/lib,upperdir=$0/lib,workdir=$0/work/lib" /var/lib
mount --rbind /run/netns "$0/run/netns"
mount --rbind "$0/run" /run
exec "$@"`

// Own returns the words in front of a command that give it files of the namespace's own:
// what it writes to /etc, /run and /var/lib is seen by the namespace's other commands
// that run so, and by nobody else.
func (n *NS) Own() []string {
	n.lab.Helper()
	return []string{"unshare", "--mount", "sh", "-euc", private, n.files()}
}

// files returns the folder that Own uses. It has an empty resolv.conf from the start: the
// machine's may lead to one of its services.
func (n *NS) files() string {
	n.lab.Helper()
	if n.own != "" {
		return n.own
	}
	dir, err := os.MkdirTemp(n.lab.Dir, "own-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "etc"), 0o755)
	}
	if err != nil {
		n.lab.Fatalf("lab: %v", err)
	}
	n.own = dir
	n.Resolvers()
	return dir
}

// Resolvers writes the namespace's own resolv.conf.
func (n *NS) Resolvers(addrs ...string) {
	n.lab.Helper()
	var b strings.Builder
	for _, a := range addrs {
		b.WriteString("nameserver " + a + "\n")
	}
	// In place: a mount that is there looks at this very file.
	if err := os.WriteFile(filepath.Join(n.files(), "etc/resolv.conf"), []byte(b.String()), 0o644); err != nil {
		n.lab.Fatalf("lab: %v", err)
	}
}

// Nameservers returns what the namespace's DHCP client has been told to ask for names:
// by its resolv.conf, and by what networkd keeps of a link (sd_network_link_get_dns).
func (n *NS) Nameservers() []string {
	n.lab.Helper()
	var all []string
	names, err := filepath.Glob(n.files() + "/run/systemd/netif/links/*")
	if err != nil {
		n.lab.Fatalf("lab: %v", err)
	}
	for _, name := range append(names, n.files()+"/etc/resolv.conf") {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // networkd replaces its files
		}
		for line := range strings.Lines(string(text)) {
			if list, ok := strings.CutPrefix(line, "DNS="); ok {
				all = append(all, strings.Fields(list)...)
			} else if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
				all = append(all, f[1])
			}
		}
	}
	return all
}

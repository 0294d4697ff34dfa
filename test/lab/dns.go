package lab

import (
	"fmt"
	"strings"
)

// Names starts a name server (dnsmasq) in the namespace, at all its addresses. The lines
// are its configuration, beside that it knows nothing and asks nobody.
func (n *NS) Names(lines ...string) (stop func()) {
	n.lab.Helper()
	conf := n.lab.Write("dnsmasq-"+n.Name, strings.Join(lines, "\n")+"\n")
	stop = n.Background("dnsmasq", "--keep-in-foreground", "--conf-file="+conf, "--pid-file=",
		"--no-resolv", "--no-hosts", "--user=root", "--log-facility=-", "--log-queries")
	n.lab.listens(n, "53")
	return stop
}

// Dig asks the name server for a name. Words are in dig's terms: a type, +tcp, +bufsize=512.
// It returns all that dig says.
func (l *Lab) Dig(from Station, server, name string, words ...string) string {
	l.Helper()
	ctx, cancel := l.limited()
	defer cancel()
	out, err := from.Sh(ctx, fmt.Sprintf("dig @%s +time=2 +tries=2 %s %s", server, strings.Join(words, " "), name))
	if err != nil {
		l.Errorf("dig @%s %s: %v: %s", server, name, err, out)
	}
	return out
}

// Resolves returns the records that the name server has, in dig's short form.
func (l *Lab) Resolves(from Station, server, name string, words ...string) []string {
	l.Helper()
	return strings.Fields(l.Dig(from, server, name, append([]string{"+short"}, words...)...))
}

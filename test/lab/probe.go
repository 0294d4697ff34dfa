package lab

import (
	"encoding/json"
	"fmt"
	"net"

	"weft/test/stun"
)

// Reflects starts the servers that probes ask, at two addresses of one family.
func (n *NS) Reflects(one, two string) {
	n.lab.Helper()
	n.Background(n.agent(), "reflect", one, two)
	n.lab.Until("agent reflects", func() error {
		c, err := n.Dial("tcp", net.JoinHostPort(two, "3479")) // which listens last
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// Probes finds out how the NAT between the station and the servers of Reflects behaves.
// The station's second address plays another host; empty: none does.
func (l *Lab) Probes(from Station, local, other, one, two string) stun.Result {
	l.Helper()
	ctx, cancel := l.limited()
	defer cancel()
	out, err := from.Sh(ctx, fmt.Sprintf("%s probe -json -local %s -other '%s' %s %s", from.agent(), local, other, one, two))
	if err != nil {
		l.Fatalf("probe: %v: %s", err, out)
	}
	var r stun.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		l.Fatalf("probe: %v: %s", err, out)
	}
	return r
}

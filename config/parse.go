package config

import (
	"reflect"
	"time"
)

// Defaults of what a document leaves out.
const (
	DefaultMTU      = 1500
	DefaultAgeing   = Duration(300 * time.Second) // IEEE 802.1Q table 8-6
	DefaultQueues   = 1
	DefaultStations = 65536
	DefaultSessions = 262144
)

// Parse reads a document, fills in the defaults and checks that it makes sense.
// An empty document is one without networks. The error is Faults: all of them.
func Parse(data []byte) (*Config, error) {
	root, faults := syntax(data)
	if len(faults) > 0 {
		return nil, faults.err()
	}
	c, b := new(Config), newBinder()
	if root != nil {
		b.collect(root)
		b.value("", root, reflect.ValueOf(c).Elem())
	}
	c.setDefaults(b)
	check(c, b)
	if err := b.faults.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// setDefaults fills in what the document leaves out. A value that is given and
// happens to be zero stays, for check to judge.
func (c *Config) setDefaults(b *binder) {
	preset(b, "switch.stations", &c.Switch.Stations, DefaultStations)
	preset(b, "switch.sessions", &c.Switch.Sessions, DefaultSessions)
	for i := range c.Networks {
		n, at := &c.Networks[i], index("networks", i)
		preset(b, at+".mode", &n.Mode, ModeNAT)
		preset(b, at+".mtu", &n.MTU, DefaultMTU)
		preset(b, at+".ageing", &n.Ageing, DefaultAgeing)
	}
	for i := range c.Ports {
		p, at := &c.Ports[i], index("ports", i)
		preset(b, at+".type", &p.Type, PortTAP)
		preset(b, at+".device", &p.Device, p.Name)
		preset(b, at+".queues", &p.Queues, DefaultQueues)
		if p.Offloads == nil {
			p.Offloads = new(true)
		}
	}
}

func preset[T any](b *binder, path string, v *T, def T) {
	if !b.given(path) {
		*v = def
	}
}

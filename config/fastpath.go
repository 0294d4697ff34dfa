package config

import (
	"fmt"
	"strings"
)

// A Fastpath says how far the flow cache may act for the switch. It reads and writes as
// one of its words; true and false, which YAML 1.1 has for on and off, are read too.
type Fastpath string

// The words.
const (
	FastpathOn  Fastpath = "on"  // frames whose fate is known are carried by the kernel
	FastpathOff Fastpath = "off" // all frames come to the switch
	FastpathXDP Fastpath = "xdp" // tap: on, and small frames are carried by its driver
)

// MarshalText implements encoding.TextMarshaler.
func (f Fastpath) MarshalText() ([]byte, error) { return []byte(f), nil }

// UnmarshalText reads one of the words, or a truth value of YAML for on and off.
func (f *Fastpath) UnmarshalText(text []byte) error {
	switch strings.ToLower(string(text)) {
	case "on", "true":
		*f = FastpathOn
	case "off", "false":
		*f = FastpathOff
	case "xdp":
		*f = FastpathXDP
	default:
		return fmt.Errorf("%q is neither on, off nor xdp", text)
	}
	return nil
}

// fastpath checks what a port asks of the flow cache.
func (k *checker) fastpath(path string, p *Port) {
	switch {
	case p.Fastpath != FastpathXDP:
	case p.Type != PortTAP:
		k.complain(path, "xdp", "xdp does not fit a port of type %s (want on or off, or type tap)", p.Type)
	case k.c.Switch.Fastpath == FastpathOff:
		k.complain(path, "xdp", "xdp is a part of the flow cache, which is off (want switch: {fastpath: on}, or on or off here)")
	}
}

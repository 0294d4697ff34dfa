package config

import (
	"fmt"
	"strings"
)

const (
	maxDevice = 15  // bytes of a device name: Linux IFNAMSIZ less the NUL
	maxName   = 63  // bytes of a name that is no device name
	maxNetNS  = 255 // bytes of a file name below /run/netns
	maxDomain = 180 // bytes of a domain: RFC 1035 has 253 for the whole name, a host's included
)

// nameFault says why s cannot be a name that weft gives, or "" if it can.
func nameFault(s string, most int) string {
	switch {
	case s == "":
		return fmt.Sprintf("empty (want 1 to %d letters, digits and _ . -)", most)
	case len(s) > most:
		return fmt.Sprintf("%q is %d bytes long (want at most %d)", excerpt(s), len(s), most)
	case !isAlnum(rune(s[0])) || strings.ContainsFunc(s, func(c rune) bool { return !isAlnum(c) && !strings.ContainsRune("_.-", c) }):
		return fmt.Sprintf("%q is not a name (want letters, digits and _ . -, a letter or digit first)", s)
	}
	return ""
}

// labelFault says why s cannot be a host's name in DNS: RFC 1123 section 2.1.
func labelFault(s string) string {
	notPlain := func(c rune) bool { return !isAlnum(c) && c != '-' }
	if s == "" || len(s) > maxName || strings.ContainsFunc(s, notPlain) || s[0] == '-' || s[len(s)-1] == '-' {
		return fmt.Sprintf("%q cannot be a name in DNS (want 1 to %d letters, digits and -, no - at the ends)", excerpt(s), maxName)
	}
	return ""
}

// domainFault says why s cannot be the domain of a network's guests.
func domainFault(s string) string {
	if len(s) > maxDomain {
		return fmt.Sprintf("%q is %d bytes long (want at most %d)", excerpt(s), len(s), maxDomain)
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if labelFault(label) != "" {
			return fmt.Sprintf("%q is not a domain (want names with dots between such as vm.internal)", excerpt(s))
		}
	}
	if strings.EqualFold(labels[len(labels)-1], "local") {
		return fmt.Sprintf("%q: guests look for names below local by multicast (RFC 6762), not in DNS (want another domain such as vm.internal)", s)
	}
	return ""
}

// madeFault says why weft cannot give s to a device that it makes.
func madeFault(s string) string {
	switch {
	case strings.HasPrefix(s, "vnet"):
		// libvirt ignores such a <target dev=…/> without a word and makes a TAP of
		// its own: the guest would start and reach nobody.
		return fmt.Sprintf("%q: names that begin with vnet are libvirt's own (want another one)", s)
	case s == "all" || s == "default":
		// /proc/sys/net/ipv4/conf has directories of these names.
		return fmt.Sprintf("%q cannot name a device on Linux (want another name)", s)
	}
	if text := nameFault(s, maxDevice); text != "" {
		return text
	}
	return deviceFault(s)
}

// deviceFault says why s cannot name a device that somebody else made: the rule of
// the kernel's dev_valid_name, and what weft does not touch.
func deviceFault(s string) string {
	switch {
	case s == "":
		return "empty (want a device's name such as eth0)"
	case len(s) > maxDevice:
		return fmt.Sprintf("%q is %d bytes long (want at most %d, as Linux has it for devices)", excerpt(s), len(s), maxDevice)
	case s == "." || s == ".." || strings.ContainsAny(s, "/: \t\n\v\f\r\u00a0"):
		return fmt.Sprintf("%q cannot name a device on Linux", s)
	case s == "lo":
		return `"lo" is the loopback device (want another one)`
	case strings.HasPrefix(s, "wf-"):
		return fmt.Sprintf("%q: names that begin with wf- are reserved for weft's own devices", s)
	}
	return ""
}

func isAlnum(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

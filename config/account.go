package config

import (
	"fmt"
	"math"
	"os/user"
	"strconv"
)

// Accounts looks up the host's users and groups. Parse does not: what a document
// means must not depend on the machine that reads it.
type Accounts struct {
	User, Group func(name string) (id string, err error)
}

// HostAccounts are those of this host.
var HostAccounts = Accounts{
	User: func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	},
	Group: func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	},
}

// None stands for no owner or no group, as TUNSETOWNER and TUNSETGROUP have it.
const None = -1

// IDs returns the numbers of the port's owner and group. The kernel lets those open a
// TAP who are its owner, if it has one, and in its group, if it has one; so with a
// group alone the owner is None, and with neither it is root.
func (a Accounts) IDs(p *Port) (uid, gid int, err error) {
	gid = None
	if p.Group != "" {
		uid = None
	}
	if p.Owner != "" {
		if uid, err = a.id(a.User, p.Owner); err != nil {
			return 0, None, fmt.Errorf("no user %q on this host (create it, or give a number): %w", p.Owner, err)
		}
	}
	if p.Group != "" {
		if gid, err = a.id(a.Group, p.Group); err != nil {
			return 0, None, fmt.Errorf("no group %q on this host (create it, or give a number): %w", p.Group, err)
		}
	}
	return uid, gid, nil
}

// Check returns a fault for every owner and group that the host does not know.
func (a Accounts) Check(c *Config) error {
	var faults Faults
	for i := range c.Ports {
		p := &c.Ports[i]
		if _, _, err := a.IDs(&Port{Owner: p.Owner}); err != nil {
			faults = append(faults, Fault{Path: index("ports", i) + ".owner", Value: p.Owner, Text: err.Error()})
		}
		if _, _, err := a.IDs(&Port{Group: p.Group}); err != nil {
			faults = append(faults, Fault{Path: index("ports", i) + ".group", Value: p.Group, Text: err.Error()})
		}
	}
	return faults.err()
}

func (a Accounts) id(lookUp func(string) (string, error), s string) (int, error) {
	if isDecimal(s) {
		return accountID(s)
	}
	id, err := lookUp(s)
	if err != nil {
		return 0, err
	}
	return accountID(id)
}

// accountID reads a user's or group's number. The last one means none to the kernel.
func accountID(s string) (int, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || id == math.MaxUint32 {
		return 0, fmt.Errorf("%s is out of range (want 0 to %d)", s, uint32(math.MaxUint32-1))
	}
	return int(id), nil
}

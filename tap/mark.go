package tap

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
)

// nameMax is the length of the longest device name: IFNAMSIZ less the final zero.
const nameMax = 15

// A role says what weft made a device for.
type role string

// The roles, as an operator reads them in the alias.
const (
	rolePort          role = "port"              // a TAP for a hypervisor
	roleHost          role = "host port"         // a TAP whose kernel side is the host's
	roleGateway       role = "gateway of"        // of a network; a TAP as a host port's
	roleCompanion     role = "companion of"      // of a device
	roleWireCompanion role = "wire companion of" // of an uplink, towards the wire
	roleHostCompanion role = "host companion of" // of an uplink, towards the host
)

// A mark is what weft writes into the alias of each device it makes. It is all that
// the next process knows after a crash.
type mark struct {
	role   role
	of     string // name of the port; of the network, for gateways; of the device, for companions
	qdisc  bool   // companions: weft also made the clsact qdisc of the device
	home   uint64 // host ports and gateways: inode of the daemon's namespace, wherever they are moved
	absent bool   // the device carries no mark: weft did not make it
}

const (
	markPrefix = "weft: "
	markQdisc  = " (with clsact)"
	markHome   = " from net:"
)

func (m mark) String() string {
	s := markPrefix + string(m.role) + " " + m.of
	if m.qdisc {
		s += markQdisc
	}
	if m.home != 0 {
		s += markHome + strconv.FormatUint(m.home, 10)
	}
	return s
}

// isCompanion reports the roles that go with a device that weft did not make.
func (m mark) isCompanion() bool {
	return !m.absent && m.role != rolePort && m.role != roleHost && m.role != roleGateway
}

func parseMark(alias string) mark {
	rest, ok := strings.CutPrefix(alias, markPrefix)
	if !ok {
		return mark{absent: true}
	}
	rest, qdisc := strings.CutSuffix(rest, markQdisc)
	rest, inode, _ := strings.Cut(rest, markHome)
	home, _ := strconv.ParseUint(inode, 10, 64)
	for _, r := range []role{rolePort, roleHost, roleGateway, roleCompanion, roleWireCompanion, roleHostCompanion} {
		if of, ok := strings.CutPrefix(rest, string(r)+" "); ok {
			return mark{role: r, of: of, qdisc: qdisc, home: home}
		}
	}
	return mark{absent: true}
}

// companionName returns the name of a device's companion, or of a host port on its
// way to its namespace: always the same, never that of another. It is readable where the name leaves room, a hash else.
func companionName(r role, device string) string {
	letter := map[role]string{roleWireCompanion: "w-", roleHostCompanion: "h-", roleHost: "n-"}[r]
	name := "wf-" + letter + device
	ambiguous := r == roleHost || letter == "" && (strings.HasPrefix(device, "w-") || strings.HasPrefix(device, "h-") || strings.HasPrefix(device, "x-"))
	if len(name) <= nameMax && !ambiguous {
		return name
	}
	sum := sha256.Sum256([]byte(letter + "/" + device))
	return "wf-x-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

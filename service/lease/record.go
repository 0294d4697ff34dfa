package lease

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"weft/frame"
)

// The file of a book has one line for each change, later ones outdating earlier ones:
// eight hex digits of the CRC-32C of what follows, a space, and a JSON object. The first
// line is the header.
//
//	c3ab8f1e {"weft-leases":1}
//	0bb12e44 {"address":"192.168.150.100","state":"bound","port":"vm1","mac":"52:54:00:12:34:56",…}
//	78d1ff20 {"address":"192.168.150.100","state":"gone"}
const formatVersion = 1

// maxLine is longer than any line of a book, in bytes.
const maxLine = 4096

type header struct {
	Version int `json:"weft-leases"`
}

type record struct {
	Address  netip.Addr `json:"address"`
	State    string     `json:"state"` // bound, declined, gone
	Port     string     `json:"port,omitempty"`
	MAC      frame.MAC  `json:"mac"`
	ID       string     `json:"client,omitempty"` // hex
	IAID     uint32     `json:"iaid,omitempty"`
	Station  frame.MAC  `json:"station"`
	Name     string     `json:"name,omitempty"`
	Start    time.Time  `json:"start,omitzero"`
	Expiry   time.Time  `json:"expiry,omitzero"`
	Reserved bool       `json:"reserved,omitempty"`
}

const gone = "gone"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line returns v as a line of the file.
func line(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("lease: a record that JSON cannot say: %v", err)) // none of its types can fail
	}
	return fmt.Appendf(nil, "%08x %s\n", checksum(text), text)
}

func checksum(text []byte) uint32 { return crc32.Checksum(text, castagnoli) }

// unline reads a line, without its end, into v.
func unline(text []byte, v any) error {
	if len(text) < 9 || text[8] != ' ' {
		return errors.New("it has no checksum")
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], text[:8]); err != nil {
		return errors.New("it has no checksum")
	}
	if binary.BigEndian.Uint32(sum[:]) != checksum(text[9:]) {
		return errors.New("its checksum is wrong")
	}
	return json.Unmarshal(text[9:], v)
}

// recordOf returns what the file says of an entry. Idle is a lease that has ended.
func recordOf(e *entry) record {
	state := Bound
	if e.State == Declined {
		state = Declined
	}
	return record{
		Address: e.Address, State: state.String(), Port: e.Client.Port, MAC: e.Client.MAC,
		ID: hex.EncodeToString([]byte(e.Client.ID)), IAID: e.Client.IAID, Station: e.key.station,
		Name: e.Client.Name, Start: e.Start, Expiry: e.Expiry, Reserved: e.Reserved,
	}
}

// entry returns the entry of a record that is not gone. A lease that has ended is bound
// until the table looks at the time.
func (r *record) entry(network string) (*entry, error) {
	id, err := hex.DecodeString(r.ID)
	switch {
	case err != nil:
		return nil, fmt.Errorf("client: %w", err)
	case !plain(r.Address):
		return nil, fmt.Errorf("%s is not an address", r.Address)
	case r.State != Bound.String() && r.State != Declined.String():
		return nil, fmt.Errorf("%q is not a state", r.State)
	}
	e := &entry{
		Lease: Lease{
			Network: network, Address: r.Address, State: Bound, Start: r.Start, Expiry: r.Expiry, Reserved: r.Reserved,
			Client: Client{
				Family: FamilyOf(r.Address), ID: string(id), IAID: r.IAID,
				MAC: r.MAC, Port: r.Port, Name: Label(r.Name),
			},
		},
		until: r.Expiry,
	}
	if r.State == Declined.String() {
		e.State = Declined
	} else {
		e.key = key{family: e.Client.Family, id: e.Client.ID, iaid: e.Client.IAID, station: r.Station}
	}
	return e, nil
}

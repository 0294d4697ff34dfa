package tap

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// A ClaimKind says against whom a claim holds. An endpoint may have one of each kind.
type ClaimKind uint8

// The kinds, as bpf/claims.h knows them.
const (
	ClaimSession ClaimKind = 1 << iota // the host's own sockets win
	ClaimForward                       // always weft's
)

// Claims say which of the frames that uplinks receive for the host's own MAC address
// are weft's: those for single endpoints of an address that it shares with the host, and
// those for the addresses that it owns. There is one set of claims for the process.
// They end with it: the programs of a daemon that crashed keep to its claims until
// the next one replaces them. Methods may be called at once.
type Claims struct {
	endpoints, addresses, prefixes, datagrams *ebpf.Map

	mu       sync.Mutex
	key      claimKey          // of the call that holds mu, so that none allocates
	kinds    ClaimKind         // likewise
	forwards map[claimKey]bool // guarded by mu
	shares   map[[16]byte]int  // claimed endpoints by address; guarded by mu
}

// claimKey is struct endpoint of bpf/claims.h: IPv4 is mapped into IPv6, the port in
// network byte order.
type claimKey struct {
	at       [16]byte
	port     [2]byte
	protocol frame.Protocol
	_        uint8
}

// prefixKey is struct prefix of bpf/claims.h.
type prefixKey struct {
	Bits uint32
	At   [16]byte
}

// NewClaims makes a set for at most capacity endpoints.
func NewClaims(capacity int) (*Claims, error) {
	c := &Claims{forwards: make(map[claimKey]bool), shares: make(map[[16]byte]int)}
	for _, m := range []struct {
		to   **ebpf.Map
		name string
		size int
	}{
		{&c.endpoints, attachMapClaims, max(capacity, 1)},
		{&c.addresses, attachMapClaimed, 0},
		{&c.prefixes, attachMapOwned, 0},
		{&c.datagrams, attachMapDatagrams, 0},
	} {
		var err error
		if *m.to, err = newMap(m.name, m.size); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// none is what uplinks go by that have no claims.
var none = sync.OnceValues(func() (*Claims, error) { return NewClaims(0) })

// maps returns the maps by their names in bpf/claims.h.
func (c *Claims) maps() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		attachMapClaims: c.endpoints, attachMapClaimed: c.addresses,
		attachMapOwned: c.prefixes, attachMapDatagrams: c.datagrams,
	}
}

// Claim makes frames for the endpoint weft's from now on; for ICMP the port is the
// identifier of an echo. For a session it makes one system call or two, and does not allocate.
func (c *Claims) Claim(p frame.Protocol, at netip.AddrPort, k ClaimKind) error {
	if !claimable(p, at) || k != ClaimSession && k != ClaimForward {
		return fmt.Errorf("claim %s %s: only endpoints of TCP, UDP and ICMP can be claimed", p, at)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(p, at)
	if err := c.add(k); err != nil {
		return fmt.Errorf("claim %s %s: %w", p, at, explainFull(c.endpoints, err))
	}
	if k == ClaimForward {
		c.forwards[c.key] = true
	}
	return nil
}

func claimable(p frame.Protocol, at netip.AddrPort) bool {
	switch p {
	case frame.ProtocolTCP, frame.ProtocolUDP:
		return at.IsValid() && at.Port() != 0
	case frame.ProtocolICMP, frame.ProtocolICMPv6:
		return at.IsValid()
	}
	return false
}

// set writes the key.
func (c *Claims) set(p frame.Protocol, at netip.AddrPort) {
	c.key = claimKey{at: at.Addr().As16(), port: [2]byte{byte(at.Port() >> 8), byte(at.Port())}, protocol: p}
}

// add adds a kind to those of the endpoint of the key.
func (c *Claims) add(k ClaimKind) error {
	c.kinds = k
	// A fragment of an address must not be taken for the host's once the claim is there.
	if c.shares[c.key.at] == 0 {
		if err := c.addresses.Put(unsafe.Pointer(&c.key.at), unsafe.Pointer(&c.kinds)); err != nil {
			return err
		}
	}
	err := c.update(ebpf.UpdateNoExist)
	switch {
	case err == nil:
		c.shares[c.key.at]++
		return nil
	case !errors.Is(err, ebpf.ErrKeyExist):
		return errors.Join(err, c.unshare())
	case c.forwards[c.key] == (k == ClaimForward): // it is there already
		return nil
	}
	c.kinds = ClaimSession | ClaimForward
	return c.update(ebpf.UpdateExist)
}

func (c *Claims) update(f ebpf.MapUpdateFlags) error {
	return c.endpoints.Update(unsafe.Pointer(&c.key), unsafe.Pointer(&c.kinds), f)
}

// remove removes the endpoint of the key.
func (c *Claims) remove() error {
	err := c.endpoints.Delete(unsafe.Pointer(&c.key))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	if err == nil {
		c.shares[c.key.at]--
		err = c.unshare()
	}
	return err
}

// unshare forgets the address of the key if nothing of it is claimed any more.
func (c *Claims) unshare() error {
	if c.shares[c.key.at] > 0 {
		return nil
	}
	delete(c.shares, c.key.at)
	return c.addresses.Delete(unsafe.Pointer(&c.key.at))
}

func explainFull(m *ebpf.Map, err error) error {
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: there are %d already", err, m.MaxEntries())
	}
	return err
}

// Release gives the endpoint's frames back to the host, unless there is a claim of the
// other kind. What was not claimed is no error. It costs what Claim does.
func (c *Claims) Release(p frame.Protocol, at netip.AddrPort, k ClaimKind) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(p, at)
	if err := c.end(k); err != nil {
		return fmt.Errorf("release %s %s: %w", p, at, err)
	}
	return nil
}

// end ends the claim of a kind to the endpoint of the key.
func (c *Claims) end(k ClaimKind) error {
	forwarded := c.forwards[c.key]
	switch {
	case k == ClaimSession && forwarded:
		c.kinds = ClaimForward
		return c.update(ebpf.UpdateExist)
	case k == ClaimSession:
		return c.remove()
	case !forwarded:
		return nil
	}
	delete(c.forwards, c.key)
	err := c.endpoints.Lookup(unsafe.Pointer(&c.key), unsafe.Pointer(&c.kinds))
	if err != nil || c.kinds&ClaimSession == 0 {
		return errors.Join(err, c.remove())
	}
	c.kinds = ClaimSession
	return c.update(ebpf.UpdateExist)
}

// Own makes weft's whatever is for an address of the prefix.
func (c *Claims) Own(p netip.Prefix) error {
	if !p.IsValid() {
		return fmt.Errorf("own %s: it is no prefix", p)
	}
	if err := c.prefixes.Put(mappedPrefix(p), uint8(1)); err != nil {
		return fmt.Errorf("own %s: %w", p, explainFull(c.prefixes, err))
	}
	return nil
}

// Disown gives the prefix back to the host. One that was not owned is no error.
func (c *Claims) Disown(p netip.Prefix) error {
	if err := c.prefixes.Delete(mappedPrefix(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("disown %s: %w", p, err)
	}
	return nil
}

func mappedPrefix(p netip.Prefix) prefixKey {
	bits := p.Bits() + 128 - p.Addr().BitLen()
	return prefixKey{Bits: uint32(bits), At: p.Masked().Addr().As16()}
}

// Close closes the maps. The programs that use them keep them.
func (c *Claims) Close() error {
	return errors.Join(c.endpoints.Close(), c.addresses.Close(), c.prefixes.Close(), c.datagrams.Close())
}

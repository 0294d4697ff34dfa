package daemon

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"weft/internal/control/api"
	"weft/service"
)

// report tells the operator of what happened to a service. Guests cause most of it, at
// will, so that is for who looks for it.
func (d *Daemon) report(network string, e service.Event, leases *unwritten) {
	switch {
	case e.Port == "" && e.Err != nil:
		d.log.Warn(e.What+" has a trouble", zap.String(keyNetwork, network), zap.Error(e.Err))
		return
	case leases.note(e, time.Now()):
		d.log.Warn("guests get no addresses", zap.String(keyNetwork, network), zap.Error(e.Err))
		return
	}
	d.log.Debug(e.What,
		zap.String(keyNetwork, network), zap.String(keyPort, e.Port), zap.Stringer(keyMAC, e.MAC),
		zap.Stringers(keyAddresses, e.Addresses), zap.String(keyNote, e.Note), zap.Error(e.Err))
}

// unwritten is why the leases of a network could not be written when a guest last asked for
// one. Nobody gets an address meanwhile.
type unwritten struct {
	mu   sync.Mutex
	err  error     // nil: they could
	told time.Time // when that was last said
}

// note takes in what happened to a guest, and reports whether it is to be said: at most
// once a minute, since guests ask as often as they like.
func (u *unwritten) note(e service.Event, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case errors.As(e.Err, new(syscall.Errno)): // nothing that a guest says is an error of the host's kernel
		u.err = e.Err
		if u.told.IsZero() || now.Sub(u.told) >= time.Minute {
			u.told = now
			return true
		}
	case e.Err == nil && len(e.Addresses) > 0:
		u.err = nil
	}
	return false
}

func (u *unwritten) get() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// troubles says what the gateway should serve and does not, without a subject.
func (s services) troubles() []api.Finding {
	if s.server == nil {
		return nil
	}
	var list []api.Finding
	if err := s.leases.get(); err != nil {
		list = append(list, api.Finding{Severity: sevError, Text: "guests get no addresses: " + err.Error()})
	}
	if err := s.server.Trouble(); err != nil {
		list = append(list, api.Finding{
			Severity: sevError, Text: "guests get no names: " + strings.ReplaceAll(err.Error(), "\n", "; "),
			Remedy: "see who has it by ss -lnp 'sport = :53', and have it listen on its own addresses alone; or set dns.enabled=false",
		})
	}
	return list
}

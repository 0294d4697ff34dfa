package daemon

import (
	"bufio"
	"encoding/gob"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"weft/frame"
	"weft/nat"
)

// A savedSession is a NAT session on its way to the next process, by names that it
// knows as well.
type savedSession struct {
	Network, Port string
	nat.Saved
}

// sessionsFile is where sessions are from the end of one process to the start of the
// next.
func (d *Daemon) sessionsFile() string { return filepath.Join(d.opts.RunDir, "sessions") }

// saveSessionsLocked leaves the sessions to the next process: connections outlive a
// restart.
func (d *Daemon) saveSessionsLocked() (err error) {
	if d.layer3.table.Counters().Sessions == 0 {
		return nil
	}
	f, err := os.OpenFile(d.sessionsFile(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	networks, ports := map[nat.Realm]string{}, map[frame.PortID]string{}
	for _, n := range d.networks {
		if n.gateway != nil {
			networks[n.gateway.realm] = n.cfg.Name
		}
	}
	for _, m := range d.membersLocked() {
		ports[m.id] = m.name
	}
	w := bufio.NewWriter(f)
	to := gob.NewEncoder(w)
	err = to.Encode(time.Now())
	d.layer3.table.Save(d.sw.Now(), func(s nat.Saved) bool {
		if err == nil {
			err = to.Encode(savedSession{networks[s.Realm], ports[s.Port], s})
		}
		return err == nil
	})
	return errors.Join(err, w.Flush())
}

// restoreSessionsLocked takes over the sessions of the process before, as far as they
// fit what is configured now.
func (d *Daemon) restoreSessionsLocked() error {
	f, err := os.Open(d.sessionsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	ports := map[string]frame.PortID{}
	for _, m := range d.membersLocked() {
		ports[m.name] = m.id
	}
	from := gob.NewDecoder(bufio.NewReader(f))
	var saved time.Time
	if err := from.Decode(&saved); err != nil {
		return err
	}
	restored, lost := 0, 0
	for {
		var s savedSession
		if err := from.Decode(&s); err != nil {
			d.log.Info("NAT sessions taken over", zap.Int("restored", restored), zap.Int("lost", lost))
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if d.restoreLocked(s, ports, time.Since(saved)) {
			restored++
		} else {
			lost++
		}
	}
}

func (d *Daemon) restoreLocked(s savedSession, ports map[string]frame.PortID, ago time.Duration) bool {
	n, port := d.networks[s.Network], ports[s.Port]
	if n == nil || n.gateway == nil || port == 0 || s.Expires <= ago {
		return false
	}
	s.Realm, s.Saved.Port = n.gateway.realm, port
	s.Expires -= ago
	return d.layer3.table.Restore(d.sw.Now(), s.Saved)
}

package fastpath

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"weft/frame"
)

// A LeftEntry is a decision that the cache of an earlier process holds.
type LeftEntry struct {
	In, Out Port // index and side; that of a Wire is said to be a Device
	Was, Is frame.Flow
	ByFlow  bool
	Basis   frame.Basis   // with numbers that meant something to that process
	Seen    frame.TCPSeen // what the last segment of a session's said; zero: none came by
	At      time.Duration // the last time that it was used, before now
}

// Left returns what programs know that earlier processes left on devices: what they still
// use, once where several know the same. A program of a version that keeps it otherwise is
// an error; what the others know is returned all the same.
func Left(programs ...*ebpf.Program) (all []LeftEntry, err error) {
	read := map[ebpf.MapID]bool{} // of records
	for _, p := range programs {
		some, failed := leftBy(p, read)
		all = append(all, some...)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("flow cache: read what is left: %w", failed))
		}
	}
	return all, err
}

func leftBy(p *ebpf.Program, read map[ebpf.MapID]bool) ([]LeftEntry, error) {
	m, err := mapsOf(p)
	if err != nil {
		return nil, err
	}
	defer m.close()
	offset, err := m.fit()
	if err != nil {
		return nil, err
	}
	about, err := m.records.Info()
	if err != nil {
		return nil, err
	}
	id, _ := about.ID()
	if read[id] {
		return nil, nil
	}
	read[id] = true
	memory, err := m.mmap(offset)
	if err != nil {
		return nil, err
	}
	defer memory.close()
	if err := memory.windows.records.reachAll(); err != nil {
		return nil, err
	}
	now, err := newClock()
	if err != nil {
		return nil, err
	}
	old := &Cache{kernel: &kernel{memory: memory}, clock: now}
	var all []LeftEntry
	for i := range old.records {
		if r := &old.records[i]; r.Place != 0 && old.usable(r) {
			all = append(all, old.left(r))
		}
	}
	return all, nil
}

func (c *Cache) left(r *record) LeftEntry {
	was, is := r.flows()
	e := LeftEntry{
		In: Port{Index: int(r.Place >> 1), Queue: int(r.Queue)}, Out: Port{Index: int(r.Out)},
		Was: was, Is: is, ByFlow: r.Version != 0, Basis: c.basis(r), At: c.clock.since(r.Used),
	}
	if r.Heard != 0 {
		e.Seen = r.seen()
	}
	switch {
	case r.is(cacheFlagASIDE):
		e.In.Side = HostTAP
	case r.Place&1 != 0:
		e.In.Side = HostSide
	}
	switch {
	case r.is(cacheFlagINTO) && r.is(cacheFlagMARKED):
		e.Out.Side = HostSide
	case r.is(cacheFlagINTO):
		e.Out.Side = HostTAP
	}
	return e
}

// mapsOf opens the maps that a program uses.
func mapsOf(p *ebpf.Program) (m maps, err error) {
	info, err := p.Info()
	if err != nil {
		return m, err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		one, err := ebpf.NewMapFromID(id)
		if err != nil {
			return m, errors.Join(err, m.close())
		}
		about, err := one.Info()
		if err != nil {
			return m, errors.Join(err, one.Close(), m.close())
		}
		to := map[string]**ebpf.Map{cacheMapRecords: &m.records, cacheMapBuckets: &m.buckets, cacheMapBacklogs: &m.backlogs, ".bss": &m.common}[about.Name]
		if to == nil {
			one.Close()
			continue
		}
		*to = one
	}
	return m, nil
}

func (m *maps) close() error {
	var errs []error
	for _, one := range []*ebpf.Map{m.records, m.buckets, m.backlogs, m.common} {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	return errors.Join(errs...)
}

// fit returns where the common part lies, if the maps are what this version would make.
func (m *maps) fit() (common uint32, err error) {
	spec, err := loadCache()
	if err != nil {
		return 0, err
	}
	v := spec.Variables[cacheVarShared]
	size := spec.Maps[v.SectionName].ValueSize
	if m.records == nil || m.buckets == nil || m.backlogs == nil || m.common == nil ||
		m.records.ValueSize() != uint32(unsafe.Sizeof(record{})) || m.common.ValueSize() != size {
		return 0, errors.New("it is of another version")
	}
	return v.Offset, nil
}

package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"weft/config"
	"weft/internal/control"
	"weft/internal/control/api"
)

// Apply implements control.Engine.
func (d *Daemon) Apply(a api.Apply) (api.Applied, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	doc, err := d.documentFor(a)
	if err != nil {
		return api.Applied{}, err
	}
	if a.DryRun {
		return api.Applied{Actions: describe(Plan(d.cfg, doc.Config())), Warnings: d.atStartOnlyLocked(doc.Config())}, nil
	}
	if a.Document == "" || a.Runtime {
		return d.replaceLocked(doc, nil)
	}
	return d.replaceLocked(doc, doc)
}

func (d *Daemon) documentFor(a api.Apply) (*config.Document, error) {
	if a.Document == "" {
		return load(d.opts.ConfigPath)
	}
	doc, err := config.NewDocument([]byte(a.Document))
	return doc, faults(err)
}

func load(path string) (*config.Document, error) {
	doc, err := config.Load(path)
	return doc, faults(err)
}

// faults makes the faults of a document what the API answers.
func faults(err error) error {
	var f config.Faults
	if errors.As(err, &f) {
		return control.Faults(f.Lines())
	}
	return err
}

// Reload reads the file again and applies it.
func (d *Daemon) Reload() (api.Applied, error) {
	return d.Apply(api.Apply{})
}

// EditNetwork implements control.Engine.
func (d *Daemon) EditNetwork(name string, op control.Op, values map[string]any, runtime bool) (api.Applied, error) {
	return d.edit("network "+name, op, runtime,
		func(doc *config.Document) bool {
			return slices.ContainsFunc(doc.Config().Networks, func(n config.Network) bool { return n.Name == name })
		},
		func(doc *config.Document) error {
			if op == control.OpDelete {
				return doc.DeleteNetwork(name)
			}
			return doc.SetNetwork(name, values)
		})
}

// EditPort implements control.Engine.
func (d *Daemon) EditPort(name string, op control.Op, values map[string]any, runtime bool) (api.Applied, error) {
	return d.edit("port "+name, op, runtime,
		func(doc *config.Document) bool {
			return slices.ContainsFunc(doc.Config().Ports, func(p config.Port) bool { return p.Name == name })
		},
		func(doc *config.Document) error {
			if op == control.OpDelete {
				return doc.DeletePort(name)
			}
			return doc.SetPort(name, values)
		})
}

// edit changes the document that runs and, unless runtime, the file: the file as it
// is now, so that what the operator wrote there and has not applied yet stays.
func (d *Daemon) edit(what string, op control.Op, runtime bool, has func(*config.Document) bool, change func(*config.Document) error) (api.Applied, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	exists := has(d.document)
	switch {
	case op == control.OpCreate && exists:
		return api.Applied{}, fmt.Errorf("%s exists already (set changes it): %w", what, control.ErrConflict)
	case (op == control.OpUpdate || op == control.OpDelete) && !exists:
		return api.Applied{}, fmt.Errorf("%s: %w", what, control.ErrNotFound)
	}
	doc, err := config.NewDocument(d.document.Bytes())
	if err == nil {
		err = change(doc)
	}
	if err != nil {
		return api.Applied{}, faults(err)
	}
	if runtime {
		return d.replaceLocked(doc, nil)
	}
	file, err := load(d.opts.ConfigPath)
	if err == nil && (op != control.OpDelete || has(file)) {
		err = faults(change(file))
	}
	if err != nil {
		return api.Applied{}, fmt.Errorf("%s: %w", d.opts.ConfigPath, err)
	}
	return d.replaceLocked(doc, file)
}

// replaceLocked runs doc from now on and writes file, if not nil, in place of the
// daemon's. Either both happen or neither.
func (d *Daemon) replaceLocked(doc, file *config.Document) (api.Applied, error) {
	if err := config.HostAccounts.Check(doc.Config()); err != nil {
		return api.Applied{}, faults(err)
	}
	commit := func() error { return nil }
	if file != nil {
		staged, err := config.Stage(d.opts.ConfigPath, file.Bytes())
		if err != nil {
			return api.Applied{}, unwritable(err)
		}
		defer staged.Discard()
		commit = staged.Commit
	}
	before, next := d.cfg, doc.Config()
	applied := api.Applied{Actions: describe(Plan(before, next)), Warnings: d.atStartOnlyLocked(next)}
	warnings, err := d.applyLocked(next, false)
	if err != nil {
		return api.Applied{}, fmt.Errorf("%w (nothing was changed)", err)
	}
	if err := commit(); err != nil {
		_, back := d.applyLocked(before, true)
		return api.Applied{}, errors.Join(unwritable(err), back)
	}
	d.document = doc
	applied.Warnings = append(applied.Warnings, warnings...)
	return applied, nil
}

func unwritable(err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, config.ErrReadOnly) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: %w (nothing was changed)", control.ErrReadOnly, err)
	}
	return fmt.Errorf("%w (nothing was changed)", err)
}

// atStartOnlyLocked warns of settings that next changes without effect.
func (d *Daemon) atStartOnlyLocked(next *config.Config) []string {
	var list []string
	if next.Switch.Workers != d.cfg.Switch.Workers {
		list = append(list, "switch.workers takes effect at the next start: systemctl restart weftd")
	}
	if next.Switch.Stations != d.cfg.Switch.Stations {
		list = append(list, "switch.stations takes effect at the next start: systemctl restart weftd")
	}
	if next.Switch.Sessions != d.cfg.Switch.Sessions {
		list = append(list, "switch.sessions takes effect at the next start: systemctl restart weftd")
	}
	return list
}

func describe(plan []Action) []string {
	list := make([]string, len(plan))
	for i, a := range plan {
		list[i] = a.String()
	}
	return list
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// openVSwitch is Open vSwitch with its userspace datapath (datapath_type=netdev):
// tap ports of its own, system ports for what is there.
type openVSwitch struct{ lab *lab }

func (o *openVSwitch) path(name string) string { return filepath.Join(o.lab.dir, name) }

func (o *openVSwitch) start(ports []port) error {
	if err := o.daemons(); err != nil {
		return err
	}
	args := []string{"add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"}
	for _, p := range ports {
		var err error
		switch p.kind {
		case device:
			err = o.lab.veth(p)
		case tap:
			err = o.lab.tap(p)
		}
		if err != nil {
			return err
		}
		args = append(args, "--", "add-port", "br0", p.name)
		if p.kind == host {
			args = append(args, "--", "set", "interface", p.name, "type=tap")
		}
	}
	if err := o.vsctl(args...); err != nil {
		return err
	}
	for _, p := range ports {
		if p.kind != host {
			continue
		}
		if err := o.lab.adopt(p); err != nil {
			return err
		}
	}
	return nil
}

// daemons starts ovsdb-server and ovs-vswitchd with all their files in the lab's
// directory, so that an Open vSwitch of the host is not touched.
func (o *openVSwitch) daemons() error {
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	if _, err := o.lab.run("sw", "", "ovsdb-tool", "create", o.path("conf.db"), schema); err != nil {
		return err
	}
	rundir := "OVS_RUNDIR=" + o.lab.dir
	_, err := o.lab.start("sw", "env", rundir, "ovsdb-server", o.path("conf.db"),
		"--remote=punix:"+o.path("db.sock"), "--unixctl="+o.path("db.ctl"), "--pidfile="+o.path("db.pid"))
	if err != nil {
		return err
	}
	if err := o.lab.until("ovsdb-server's socket", exists(o.path("db.sock"))); err != nil {
		return err
	}
	if err := o.vsctl("--no-wait", "init"); err != nil {
		return err
	}
	_, err = o.lab.start("sw", "env", rundir, "ovs-vswitchd", "unix:"+o.path("db.sock"),
		"--unixctl="+o.path("vs.ctl"), "--pidfile="+o.path("vs.pid"))
	if err != nil {
		return err
	}
	return o.lab.until("ovs-vswitchd's socket", exists(o.path("vs.ctl")))
}

func (o *openVSwitch) vsctl(args ...string) error {
	_, err := o.lab.run("sw", "", append([]string{"ovs-vsctl", "--timeout=10", "--db=unix:" + o.path("db.sock")}, args...)...)
	return err
}

var ovsReceived = regexp.MustCompile(`packets received: (\d+)`)

func (o *openVSwitch) frames() (uint64, error) {
	out, err := o.lab.run("sw", "", "ovs-appctl", "--target="+o.path("vs.ctl"), "dpif-netdev/pmd-stats-show")
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, m := range ovsReceived.FindAllStringSubmatch(out, -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("pmd-stats-show: %w", err)
		}
		sum += n
	}
	return sum, nil
}

func (o *openVSwitch) link(p port) string { return "tap:" + p.name }

// exists returns a condition: there is a file of that name.
func exists(path string) func() bool {
	return func() bool {
		_, err := os.Stat(path)
		return err == nil
	}
}

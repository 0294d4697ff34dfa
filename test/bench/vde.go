package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// vdeSwitch is vde_switch with TAPs that it holds itself, which is faster than
// vde_plug2tap by one process and one socket. A process that plays a guest plugs
// into its socket, as QEMU's -netdev vde does.
type vdeSwitch struct{ lab *lab }

func (v *vdeSwitch) path(name string) string { return filepath.Join(v.lab.dir, name) }

func (v *vdeSwitch) start(ports []port) error {
	args := []string{"vde_switch", "--numports", "128", "--sock", v.path("ctl"), "--mgmt", v.path("mgmt")}
	for _, p := range ports {
		switch p.kind {
		case host:
			args = append(args, "--tap", p.name)
		case device:
			return fmt.Errorf("%s: vde_switch cannot take a kernel's device as a port", p.name)
		}
	}
	if _, err := v.lab.start("sw", args...); err != nil {
		return err
	}
	if err := v.lab.until("vde_switch's socket", exists(v.path("mgmt"))); err != nil {
		return err
	}
	for _, p := range ports {
		if p.kind != host {
			continue
		}
		if err := v.lab.adopt(p); err != nil {
			return err
		}
	}
	return nil
}

// ask gives the management console a command and returns what it says, which ends
// with a line "1000 Success".
func (v *vdeSwitch) ask(question string) ([]byte, error) {
	c, err := net.Dial("unix", v.path("mgmt"))
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // all is read by then
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c, "%s\n", question); err != nil {
		return nil, err
	}
	var answer bytes.Buffer
	for !bytes.Contains(answer.Bytes(), []byte("\n1000 ")) {
		if _, err := io.CopyN(&answer, c, 1); err != nil {
			return nil, fmt.Errorf("vde_switch's console: %w", err)
		}
	}
	return answer.Bytes(), nil
}

var vdeIn = regexp.MustCompile(`IN: +pkts +(\d+)`)

func (v *vdeSwitch) frames() (uint64, error) {
	out, err := v.ask("port/allprint")
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, m := range vdeIn.FindAllSubmatch(out, -1) {
		n, err := strconv.ParseUint(string(m[1]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("port/allprint: %w", err)
		}
		sum += n
	}
	return sum, nil
}

func (v *vdeSwitch) link(port) string { return "vde:" + v.path("ctl") }

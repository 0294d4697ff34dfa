// The bench measures weft beside the switches that hypervisor hosts run today, all
// in one run and in turn, in network namespaces that it makes and removes. It
// writes the tables, and how they stand to the project's targets, to docs/bench/.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guestCommand as first argument makes this program a guest.
const guestCommand = "guest"

func main() {
	var err error
	if len(os.Args) > 2 && os.Args[1] == guestCommand {
		err = runGuest(os.Args[2], os.Args[3:])
	} else {
		err = runBench()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func runBench() error {
	rounds := flag.Int("rounds", 5, "runs of each contestant (in turns four times as many); figures are medians")
	seconds := flag.Int("seconds", 2, "length of the traffic of one run (in turns one)")
	only := flag.String("only", "", "run only the experiments whose `name` matches this expression")
	without := flag.Bool("peers-only", false, "leave weft itself out")
	check := flag.Bool("check", false, "exit with status 1 if a target is not reached")
	out := flag.String("o", "", "`folder` to write latest.md and latest.json to (docs/bench, or of some experiments only build/bench)")
	flag.StringVar(&binary, "weftd", binary, "`path` of the daemon under test")
	flag.Parse()
	if *out == "" {
		*out = "docs/bench"
		if *only != "" || *without {
			*out = "build/bench"
		}
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if err := possible(!*without); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	b := &bench{
		ctx:      ctx,
		duration: time.Duration(*seconds) * time.Second,
		rounds:   *rounds,
		progress: os.Stderr,
	}
	r := report{Machine: thisMachine(ctx), CPU: cpuMethod}
	r.Tables, err = b.all(chosen, *without)
	if err != nil {
		return err
	}
	r.Verdicts = judge(r.Tables)
	fmt.Print(r.targets())
	if err := r.write(*out); err != nil {
		return err
	}
	return verdictError(r.Verdicts, *check)
}

// experiments are all but those in process, in the order of the report.
func (b *bench) experiments() []experiment {
	return slices.Concat(
		[]experiment{b.smallFrames(), b.tcpHost(), b.tcpDevice(), b.tcpPlain(), b.natTCP(), b.routedTCP()},
		b.inTurns(),
		[]experiment{b.hostBesideNAT(), b.firstPackets(), b.manyFlows(), b.idlePorts(), b.idleDaemon(), b.restart()},
	)
}

// all runs the chosen experiments.
func (b *bench) all(chosen *regexp.Regexp, peersOnly bool) (results, error) {
	var r results
	for _, e := range b.experiments() {
		if peersOnly {
			e.contestants = peersOf(e.contestants)
		}
		if !chosen.MatchString(e.Name) || len(e.contestants) == 0 {
			continue
		}
		t, err := b.run(e)
		if err != nil {
			return nil, err
		}
		r = append(r, t)
	}
	if !peersOnly && chosen.MatchString("in process") {
		tables, err := b.inProcess()
		if err != nil {
			return nil, err
		}
		r = append(r, tables...)
	}
	return r, nil
}

func peersOf(contestants []contestant) []contestant {
	return slices.DeleteFunc(contestants, func(c contestant) bool { return c.ours })
}

// tools are what the peers and the traffic need.
var tools = []string{
	"ip", "tc", "nsenter", "sysctl", "ethtool", "ping", "fping", "iperf3", "nft",
	"ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "vde_switch", "slirp4netns",
}

// possible reports what keeps a bench from running, all of it, and sweeps the
// leavings of benches that were killed.
func possible(withWeft bool) error {
	if os.Geteuid() != 0 {
		return errors.New("not root: network namespaces cannot be made (remedy: run as root)")
	}
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t); err != nil {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing %s (remedy: test/deps.sh bench)", strings.Join(missing, ", "))
	}
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("not in the repository's root (remedy: make bench)")
	}
	if _, err := os.Stat(binary); withWeft && err != nil {
		return fmt.Errorf("%s is missing (remedy: make build, or -peers-only)", binary)
	}
	return sweep()
}

// verdictError is not nil if a check was asked for and something fell short.
func verdictError(verdicts []verdict, check bool) error {
	if !check {
		return nil
	}
	var short []string
	for _, v := range verdicts {
		if v.Result != pass {
			short = append(short, v.Target+": "+v.Result)
		}
	}
	if len(short) == 0 {
		return nil
	}
	return fmt.Errorf("targets not reached: %s", strings.Join(short, "; "))
}

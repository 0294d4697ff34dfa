// Command weftd is the switch: it carries frames between the ports that its
// configuration names, until it is told to stop.
//
// SIGHUP reads the configuration again. SIGTERM and SIGINT end the daemon and
// remove everything it made. SIGUSR2 ends it and leaves everything in place for the
// next start to take over: so does `systemctl restart`, and guests lose nothing.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap/zapcore"

	"weft/config"
	"weft/internal/control/api"
	weft "weft/internal/daemon"
)

// version is set by the build.
var version = "development"

func main() {
	f := flag.NewFlagSet("weftd", flag.ExitOnError)
	var (
		path     = f.String("config", config.DefaultPath, "the configuration `file`")
		socket   = f.String("socket", api.SocketPath, "the unix `socket` that weft speaks to")
		state    = f.String("state-dir", "/var/lib/weft", "the `directory` that keeps what outlives a restart: leases")
		check    = f.Bool("check", false, "say whether the configuration has faults, and end")
		cleanup  = f.Bool("cleanup", false, "remove everything that an earlier weftd left in the kernel, and end")
		printVer = f.Bool("version", false, "print the version, and end")
	)
	level := zapcore.InfoLevel
	f.Func("log-level", "the `level` of what is logged: debug, info, warn or error (default info)", func(s string) error { return setLevel(&level, s) })
	_ = f.Parse(os.Args[1:]) // ExitOnError
	if f.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "weftd: unexpected argument %q\n", f.Arg(0))
		os.Exit(2)
	}
	var err error
	switch {
	case *printVer:
		fmt.Println("weftd", version)
	case *check:
		_, err = config.Load(*path)
	case *cleanup:
		err = weft.Cleanup(os.Stdout, filepath.Dir(*socket))
	default:
		err = run(weft.Options{
			Version: version, ConfigPath: *path, StateDir: *state,
			RunDir: filepath.Dir(*socket), Log: logger(level),
		}, *socket)
	}
	if err != nil {
		for _, line := range report(err, *path) {
			fmt.Fprintln(os.Stderr, "weftd:", line)
		}
		os.Exit(1)
	}
}

// report returns the lines that tell of err: each fault of the configuration with its
// place in the file.
func report(err error, path string) []string {
	var faults config.Faults
	if errors.As(err, &faults) {
		return faults.In(path)
	}
	return []string{err.Error()}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
	"weft/internal/control/client"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2
)

// An app is one call of weft.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	socket  string
	json    bool
	started bool // a command runs: what fails now is no fault of the command line's form
}

// A usageError is a fault of the command line that only the command itself can see.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes the command line and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(a.stderr, "weft: %v\n", err)
	if a.started && !errors.As(err, new(usageError)) {
		return exitFailed
	}
	fmt.Fprintf(a.stderr, "usage: %s\nsee: %s --help\n", cmd.UseLine(), cmd.CommandPath())
	return exitUsage
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft COMMAND",
		Short: "Control the software switch weftd",
		Long: `weft controls weftd, a software switch for hypervisor hosts, over its unix socket.
Root and the members of group weft may use it.

Exit status: 0 done, 1 refused or failed, 2 wrong usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableFlagsInUseLine: true,

		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { a.started = true },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", defaultSocket(), "weftd's socket (environment: WEFT_SOCKET)")
	flags.BoolVar(&a.json, "json", false, "write JSON, for programs")
	root.AddCommand(
		a.statusCommand(), a.networkCommand(), a.portCommand(), a.fdbCommand(), a.natCommand(),
		a.leaseCommand(), a.routeCommand(), a.countersCommand(), a.fastpathCommand(), a.explainCommand(),
		a.applyCommand(), a.doctorCommand(), a.captureCommand(), a.completionCommand(), a.versionCommand(),
	)
	root.RunE = verbWanted
	return root
}

// group is a command that only holds others.
func group(noun, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: noun + " COMMAND", Short: short, DisableFlagsInUseLine: true, RunE: verbWanted}
	c.AddCommand(verbs...)
	return c
}

// verbWanted is what a command does that was called without one of its verbs.
func verbWanted(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return usagef("%s wants a command", cmd.CommandPath())
}

func defaultSocket() string {
	if path := os.Getenv("WEFT_SOCKET"); path != "" {
		return path
	}
	return api.SocketPath
}

// client returns a client of the chosen socket. The call ends before it would be
// worth closing.
func (a *app) client() *client.Client { return client.New(a.socket) }

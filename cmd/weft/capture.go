package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"weft/internal/control/client"
)

func (a *app) captureCommand() *cobra.Command {
	var file string
	var options client.CaptureOptions
	c := &cobra.Command{
		Use:   "capture PORT [-w FILE]",
		Short: "Record a port's frames as pcapng",
		Long: `Record the frames of a port, both directions, as pcapng: to standard output, or to FILE.
It ends at Ctrl-C, after COUNT frames, or with the port. The uplinks' two sides are ports
too: eth0:wire, eth0:host.

Superframes (TCP and UDP segmentation offload) are recorded whole, as tcpdump shows them.
Checksums that the sender left to the device are completed in the copy, unless -s cuts it.`,
		Example: `  weft capture vm1 | wireshark -k -i -
  weft capture vm1 | tcpdump -n -r -
  weft capture vm1 -w vm1.pcapng -c 1000`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.portNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if options.Snap < 0 {
				return usagef("--snap %d: want a number of bytes", options.Snap)
			}
			if file == "-" && isTerminal(a.stdout) {
				return usagef("a capture is binary, not for a terminal: use -w FILE, or weft capture %s | wireshark -k -i -", args[0])
			}
			return a.capture(cmd.Context(), args[0], file, options)
		},
	}
	c.Flags().StringVarP(&file, "write", "w", "-", "where to; - is standard output")
	c.Flags().Uint64VarP(&options.Count, "count", "c", 0, "end after so many frames")
	c.Flags().IntVarP(&options.Snap, "snap", "s", 0, "keep at most so many bytes of each frame")
	return c
}

func (a *app) capture(ctx context.Context, port, file string, o client.CaptureOptions) (err error) {
	stream, err := a.client().Capture(ctx, port, o)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Stop)() // what was captured until then is still written
	w := a.stdout
	if file != "-" {
		// Only now: a refused capture leaves no file. What guests say is not for all users.
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() {
			if closeErr := f.Close(); err == nil {
				err = closeErr
			}
		}()
		w = f
	}
	if _, err := io.Copy(w, stream); err != nil {
		return fmt.Errorf("capture of %s broke off: %w", port, err)
	}
	a.captured(stream.Summary())
	return nil
}

// captured tells the person, not the stream, what came of it.
func (a *app) captured(s client.CaptureSummary) {
	fmt.Fprintf(a.stderr, "%d frames captured (%s)\n", s.Frames, s.End)
	if s.Dropped > 0 {
		fmt.Fprintf(a.stderr, "%d frames lost: they were read too slowly (-s keeps less of each, -w FILE is faster than a pipe)\n", s.Dropped)
	}
}

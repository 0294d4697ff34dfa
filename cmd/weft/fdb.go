package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/frame"
	"weft/internal/control/api"
)

func (a *app) fdbCommand() *cobra.Command {
	show := &cobra.Command{
		Use:               "show [NETWORK]",
		Short:             "Show which station is reached by which port",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.networkNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			stations, err := a.client().Stations(cmd.Context(), optional(args))
			if err != nil {
				return err
			}
			return write(a, stations, stationTable)
		},
	}
	return group("fdb", "The filtering database: stations and the ports they are reached by",
		show, a.fdbAddCommand(), a.fdbDeleteCommand(), a.fdbFlushCommand())
}

func (a *app) fdbAddCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "add NETWORK MAC PORT",
		Short:             "Make a static entry",
		Long:              "Make a static entry, in place of a dynamic one. It lasts until weftd ends; the key\nmac of a port in weftd's file makes one that stays.",
		Example:           "  weft fdb add lan 52:54:00:00:00:01 vm1",
		Args:              cobra.ExactArgs(3),
		ValidArgsFunction: each(a.networkNames, nil, a.portNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			mac, err := frame.ParseMAC(args[1])
			if err != nil {
				return usageError{err}
			}
			station, err := a.client().AddStation(cmd.Context(), args[0], mac, args[2])
			if err != nil {
				return err
			}
			return write(a, station, func(w io.Writer, s api.Station) {
				fmt.Fprintf(w, "%s is reached by port %s, static\n", s.MAC, s.Port)
			})
		},
	}
}

func (a *app) fdbDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "delete NETWORK MAC",
		Short:             "Remove an entry",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: first(a.networkNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			mac, err := frame.ParseMAC(args[1])
			if err != nil {
				return usageError{err}
			}
			flushed, err := a.client().DeleteStation(cmd.Context(), args[0], mac)
			if err != nil {
				return err
			}
			return write(a, flushed, flushedText("entry", "removed"))
		},
	}
}

func (a *app) fdbFlushCommand() *cobra.Command {
	var port string
	c := &cobra.Command{
		Use:               "flush [NETWORK] [--port PORT]",
		Short:             "Remove dynamic entries",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.networkNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			flushed, err := a.client().FlushStations(cmd.Context(), optional(args), port)
			if err != nil {
				return err
			}
			return write(a, flushed, flushedText("entry", "removed"))
		},
	}
	c.Flags().StringVar(&port, "port", "", "only those of this port")
	a.completeFlag(c, "port", a.portNames)
	return c
}

func stationTable(w io.Writer, stations []api.Station) {
	row(w, "NETWORK", "MAC", "PORT", "TYPE", "AGE")
	for _, s := range stations {
		kind, age := "dynamic", seconds(s.Age)
		if s.Static {
			kind, age = "static", "-"
		}
		row(w, s.Network, s.MAC, s.Port, kind, age)
	}
}

// flushedText says how many things an end came to: "2 entries removed".
func flushedText(thing, done string) func(io.Writer, api.Flushed) {
	return func(w io.Writer, f api.Flushed) {
		what := thing + "s"
		switch {
		case f.Count == 1:
			what = thing
		case strings.HasSuffix(thing, "y"):
			what = strings.TrimSuffix(thing, "y") + "ies"
		}
		fmt.Fprintf(w, "%d %s %s\n", f.Count, what, done)
	}
}

// optional returns the argument of a command that may go without.
func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how weftd is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := a.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			return write(a, status, statusText)
		},
	}
}

func statusText(w io.Writer, s api.Status) {
	row(w, "weftd", fmt.Sprintf("%s, pid %d", s.Version, s.PID))
	row(w, "started", s.Started.Local().Format(time.DateTime))
	row(w, "config", s.ConfigPath)
	row(w, "workers", s.Workers)
	row(w, "networks", s.Networks)
	row(w, "ports", fmt.Sprintf("%d, %d up", s.Ports, s.PortsUp))
	row(w, "stations", s.Stations)
	row(w, "sessions", s.Sessions)
	for _, warning := range s.Warnings {
		row(w, "WARNING", warning)
	}
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with weftd, its ports and the host",
		Long:  "Find what is wrong with weftd, its ports and the host, and say what to do about it.\nExit status 1 if there is an error.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := a.client().Doctor(cmd.Context())
			if err != nil {
				return err
			}
			if err := write(a, findings, findingTable); err != nil {
				return err
			}
			return errorsIn(findings)
		},
	}
}

func findingTable(w io.Writer, findings []api.Finding) {
	for _, f := range findings {
		row(w, f.Severity, f.Subject, f.Text)
		if f.Remedy != "" {
			row(w, "", "", "remedy: "+f.Remedy)
		}
	}
}

func errorsIn(findings []api.Finding) error {
	n := 0
	for _, f := range findings {
		if f.Severity == "error" {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("doctor: 1 error")
	}
	return fmt.Errorf("doctor: %d errors", n)
}

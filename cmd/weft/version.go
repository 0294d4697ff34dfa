package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show weft's version (weftd's is in weft status)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
			}{version}
			return write(a, v, func(w io.Writer, _ struct {
				Version string `json:"version"`
			},
			) {
				fmt.Fprintln(w, "weft", version)
			})
		},
	}
}

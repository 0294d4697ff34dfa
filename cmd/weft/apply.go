package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
)

func (a *app) applyCommand() *cobra.Command {
	var file string
	var change api.Apply
	c := &cobra.Command{
		Use:   "apply [-f FILE]",
		Short: "Run another document, or weftd's file as it is now",
		Long: `Make weftd run the document FILE (- is standard input) from now on and keep it as its
file. Without -f it reads its file again. Only what differs is changed; if anything
fails, nothing is.`,
		Example: "  weft apply -f new.yaml --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			named := cmd.Flags().Changed("file") // -f "" is an unset variable, not weftd's own file
			if !named && change.Runtime {
				return usagef("--runtime wants -f FILE: weftd's own file is what it would not be written to")
			}
			if named {
				document, err := a.read(file)
				if err != nil {
					return err
				}
				if len(document) == 0 {
					return usagef("%s is empty", file)
				}
				change.Document = string(document)
			}
			done, err := a.client().Apply(cmd.Context(), change)
			if err != nil {
				return err
			}
			return a.done(done)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the document; - is standard input")
	c.Flags().BoolVar(&change.DryRun, "dry-run", false, "only say what would change")
	c.Flags().BoolVar(&change.Runtime, "runtime", false, "change the running switch only, not weftd's file")
	return c
}

func (a *app) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(a.stdin)
	}
	return os.ReadFile(file)
}

package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"weft/internal/control/client"
)

// A view is how entries of one kind are asked for and shown.
type view[T any] struct {
	all   func(*client.Client, context.Context) ([]T, error)
	table func(io.Writer, []T)
	one   func(*client.Client, context.Context, string) (T, error)
	text  func(io.Writer, T)
}

// viewCommands are the verbs that show entries.
func viewCommands[T any](a *app, e entry, v view[T]) []*cobra.Command {
	return []*cobra.Command{
		{
			Use:   "list",
			Short: "List the " + e.word + "s",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				all, err := v.all(a.client(), cmd.Context())
				if err != nil {
					return err
				}
				return write(a, all, v.table)
			},
		},
		{
			Use:               "show NAME",
			Short:             "Show a " + e.word,
			Args:              cobra.ExactArgs(1),
			ValidArgsFunction: first(e.complete),
			RunE: func(cmd *cobra.Command, args []string) error {
				one, err := v.one(a.client(), cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return write(a, one, v.text)
			},
		},
	}
}

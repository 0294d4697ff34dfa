package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weft/internal/control/client"
)

// An entry is a kind of entry of the document, with what its verbs need to know.
type entry struct {
	noun     client.Noun
	word     string   // in commands and texts
	zero     any      // config.Network or config.Port: its keys
	example  string   // KEY=VALUE pairs of a typical one
	changes  []string // NAME and KEY=VALUE pairs of typical changes
	syntax   string   // how values are written, behind "… weftd's file"
	complete completer
}

// examples are command lines that change an entry.
func (e entry) examples() string {
	lines := make([]string, len(e.changes))
	for i, c := range e.changes {
		lines[i] = fmt.Sprintf("  weft %s set %s", e.word, c)
	}
	return strings.Join(lines, "\n")
}

// editCommands are the verbs that change an entry.
func (a *app) editCommands(e entry) []*cobra.Command {
	var runtime bool
	flags := func(c *cobra.Command) *cobra.Command {
		c.Flags().BoolVar(&runtime, "runtime", false, "change the running switch only, not weftd's file")
		return c
	}
	edit := func(mode client.Mode) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			values, err := parseValues(e.zero, args[1:])
			if err != nil {
				return err
			}
			done, err := a.client().Edit(cmd.Context(), e.noun, args[0], mode, values, runtime)
			if err != nil {
				return err
			}
			return a.done(done)
		}
	}
	return []*cobra.Command{
		flags(&cobra.Command{
			Use:               "add NAME [KEY=VALUE]...",
			Short:             "Add a " + e.word,
			Long:              fmt.Sprintf("Add a %s. The keys are those of weftd's file%s", e.word, e.syntax),
			Example:           fmt.Sprintf("  weft %s add %s", e.word, e.example),
			Args:              cobra.MinimumNArgs(1),
			ValidArgsFunction: a.completeEdit(e, nil),
			RunE:              edit(client.Create),
		}),
		flags(&cobra.Command{
			Use:               "set NAME KEY=VALUE...",
			Short:             "Change a " + e.word + " in place",
			Long:              fmt.Sprintf("Change keys of a %s in place. The keys are those of weftd's file%s", e.word, e.syntax),
			Example:           e.examples(),
			Args:              cobra.MinimumNArgs(2),
			ValidArgsFunction: a.completeEdit(e, e.complete),
			RunE:              edit(client.Update),
		}),
		flags(&cobra.Command{
			Use:               "delete NAME",
			Short:             "Remove a " + e.word,
			Args:              cobra.ExactArgs(1),
			ValidArgsFunction: first(e.complete),
			RunE: func(cmd *cobra.Command, args []string) error {
				done, err := a.client().Delete(cmd.Context(), e.noun, args[0], runtime)
				if err != nil {
					return err
				}
				return a.done(done)
			},
		}),
	}
}

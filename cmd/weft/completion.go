package main

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/internal/control/client"
)

// A completer names what an argument may be.
type completer func(context.Context) []string

// completionPatience is how long a shell waits for the daemon.
const completionPatience = time.Second

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Write the shell's completion script",
		Example: `  weft completion bash > /etc/bash_completion.d/weft
  weft completion zsh > "${fpath[1]}/_weft"
  weft completion fish > ~/.config/fish/completions/weft.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.stdout)
			default:
				return cmd.Root().GenFishCompletion(a.stdout, true)
			}
		},
	}
}

func (a *app) networkNames(ctx context.Context) []string {
	return a.networksOf(ctx, config.ModeNAT, config.ModeRouted, config.ModeBridged, config.ModeIsolated)
}

// gatewayNames are those of networks with a gateway.
func (a *app) gatewayNames(ctx context.Context) []string {
	return a.networksOf(ctx, config.ModeNAT, config.ModeRouted)
}

func (a *app) natNames(ctx context.Context) []string { return a.networksOf(ctx, config.ModeNAT) }

func (a *app) networksOf(ctx context.Context, modes ...config.Mode) []string {
	networks, _ := a.client().Networks(ctx) // nothing to complete with, nothing to say
	var names []string
	for _, n := range networks {
		if slices.Contains(modes, config.Mode(n.Mode)) {
			names = append(names, n.Name+"\t"+n.Mode)
		}
	}
	return names
}

func (a *app) portNames(ctx context.Context) []string {
	ports, _ := a.client().Ports(ctx)
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name + "\t" + p.Type + " on " + p.Network + ", " + p.State
	}
	return names
}

// each completes the first argument by the first completer, and so on.
func each(completers ...completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(completers) || completers[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return ask(cmd, completers[len(args)]), cobra.ShellCompDirectiveNoFileComp
	}
}

func first(c completer) cobra.CompletionFunc { return each(c) }

func ask(cmd *cobra.Command, c completer) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	return c(ctx)
}

// completeEdit completes an entry's name, then the keys that are not yet given.
func (a *app) completeEdit(e entry, names completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return first(names)(cmd, args, part)
		}
		return a.completeValue(cmd, e, args[1:], part)
	}
}

// completeFlag completes the value of a flag.
func (a *app) completeFlag(c *cobra.Command, flag string, names completer) {
	err := c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return ask(cmd, names), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // there is no such flag
	}
}

// valuesOf are the values a key may have, where they are few.
func (a *app) valuesOf(e entry, k key) completer {
	fixed := func(values ...string) completer { return func(context.Context) []string { return values } }
	switch {
	case k.kind == reflect.TypeFor[config.Mode]():
		return fixed(string(config.ModeNAT), string(config.ModeRouted), string(config.ModeBridged), string(config.ModeIsolated))
	case k.kind == reflect.TypeFor[config.PortType]():
		return fixed(string(config.PortTAP), string(config.PortDevice), string(config.PortHost))
	case k.kind == reflect.TypeFor[config.Filtering]():
		return fixed(string(config.FilterAddressAndPort), string(config.FilterAddress), string(config.FilterEndpointIndependent))
	case k.kind == reflect.TypeFor[config.Fastpath]():
		return fixed(string(config.FastpathOn), string(config.FastpathOff), string(config.FastpathXDP))
	case k.kind.Kind() == reflect.Bool:
		return fixed("true", "false")
	case k.name == "network" && e.noun == client.Port:
		return a.networkNames
	case k.name == "reach":
		return a.gatewayNames
	}
	return nil
}

// completeValue completes KEY= or the value of KEY=part.
func (a *app) completeValue(cmd *cobra.Command, e entry, given []string, part string) ([]string, cobra.ShellCompDirective) {
	known := keys(e.zero)
	if name, _, ok := strings.Cut(part, "="); ok {
		k, err := find(known, strings.TrimRight(name, "+-"))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		values := a.valuesOf(e, k)
		if values == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found := ask(cmd, values)
		for i := range found {
			found[i] = name + "=" + found[i]
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	around, _, below := cutLast(part, ".")
	var found []string
	for _, k := range known {
		in, _, dotted := cutLast(k.name, ".")
		used := slices.ContainsFunc(given, func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return name == k.name
		})
		if in == around && below == dotted && !used {
			found = append(found, k.offers()...)
		}
	}
	slices.Sort(found)
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// offers is how a key may go on.
func (k key) offers() []string {
	switch {
	case isMapping(k.kind):
		return []string{k.name + "."}
	case k.kind.Kind() == reflect.Slice && isMapping(k.kind.Elem()):
		return []string{k.name + "+=", k.name + "-="}
	}
	return []string{k.name + "="}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"

	"weft/test/stun"
)

// reflect answers probes at two addresses.
func reflect(args []string) error {
	servers, err := pair(args)
	if err != nil {
		return err
	}
	return stun.Serve(context.Background(), servers)
}

// probe finds out how the NAT between here and two servers behaves, and prints it.
func probe(args []string) error {
	options := flag.NewFlagSet("probe", flag.ContinueOnError)
	local := options.String("local", "", "this host's `address`")
	other := options.String("other", "", "a second `address` of it, that plays another host")
	asJSON := options.Bool("json", false, "print it for programs")
	if err := options.Parse(args); err != nil {
		return err
	}
	servers, err := pair(options.Args())
	if err != nil {
		return err
	}
	c := stun.Config{Servers: servers}
	if c.Local, err = netip.ParseAddr(*local); err != nil {
		return err
	}
	if *other != "" {
		if c.Other, err = netip.ParseAddr(*other); err != nil {
			return err
		}
	}
	r, err := stun.Run(c)
	if err != nil {
		return err
	}
	if !*asJSON {
		fmt.Print(r)
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return nil
}

// pair reads the servers' addresses.
func pair(args []string) (servers [2]netip.Addr, err error) {
	if len(args) != len(servers) {
		return servers, errors.New("usage: agent reflect ADDR ADDR | probe -local ADDR [-other ADDR] [-json] ADDR ADDR")
	}
	for i, a := range args {
		if servers[i], err = netip.ParseAddr(a); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

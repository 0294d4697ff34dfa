package client

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"

	"weft/internal/control/api"
)

// NATSessions lists the sessions that f wants.
func (c *Client) NATSessions(ctx context.Context, f api.NATFilter) (s []api.NATSession, err error) {
	limit := ""
	if f.Limit > 0 {
		limit = strconv.Itoa(f.Limit)
	}
	return s, c.get(ctx, "/v1/nat", query("network", f.Network, "port", f.Port, "limit", limit), &s)
}

// FlushNAT ends the sessions of a network, of one guest's address if inside is given;
// "" means all networks.
func (c *Client) FlushNAT(ctx context.Context, network string, inside netip.Addr) (f api.Flushed, err error) {
	q := query("network", network)
	if inside.IsValid() {
		q.Set("address", inside.String())
	}
	return f, c.do(ctx, http.MethodDelete, "/v1/nat", q, nil, &f)
}

// Leases lists the leases of a network, of all if network is "".
func (c *Client) Leases(ctx context.Context, network string) (l []api.Lease, err error) {
	return l, c.get(ctx, "/v1/leases", query("network", network), &l)
}

// ReleaseLease ends a lease.
func (c *Client) ReleaseLease(ctx context.Context, network string, a netip.Addr) (f api.Flushed, err error) {
	return f, c.do(ctx, http.MethodDelete, "/v1/leases", query("network", network, "address", a.String()), nil, &f)
}

// Routes lists the ways of packets from a network, of all if network is "".
func (c *Client) Routes(ctx context.Context, network string) (r []api.Route, err error) {
	return r, c.get(ctx, "/v1/routes", query("network", network), &r)
}

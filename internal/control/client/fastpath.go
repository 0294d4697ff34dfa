package client

import (
	"context"
	"net/http"
	"strconv"

	"weft/internal/control/api"
)

// Fastpath asks what the flow cache does, and for the entries or refusals that q wants.
func (c *Client) Fastpath(ctx context.Context, q api.FastpathQuery) (f api.Fastpath, err error) {
	v := query("port", q.Port)
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Refused {
		v.Set("refused", "1")
	}
	return f, c.get(ctx, "/v1/fastpath", v, &f)
}

// FlushFastpath makes the flow cache forget all.
func (c *Client) FlushFastpath(ctx context.Context) (f api.Flushed, err error) {
	return f, c.do(ctx, http.MethodDelete, "/v1/fastpath", nil, nil, &f)
}

// Explain asks for the way that a frame would take.
func (c *Client) Explain(ctx context.Context, e api.Explain) (way api.Explained, err error) {
	return way, c.do(ctx, http.MethodPost, "/v1/explain", nil, e, &way)
}

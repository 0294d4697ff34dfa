package control

import (
	"cmp"
	"math"
	"net/http"
	"slices"

	"weft/internal/control/api"
)

// fastpath answers by the ports that frames take, then by who speaks to whom.
func (s *Server) fastpath(r *http.Request) (any, error) {
	p := paramsOf(r, "port", "limit", "refused")
	q := api.FastpathQuery{Port: p.text("port"), Limit: int(p.number("limit", math.MaxInt32)), Refused: p.flag("refused")}
	if p.err != nil {
		return nil, p.err
	}
	f, err := s.engine.Fastpath(q)
	slices.SortFunc(f.Entries, func(a, b api.FastpathEntry) int {
		return cmp.Or(
			cmp.Compare(a.In, b.In), cmp.Compare(a.Out, b.Out), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Protocol, b.Protocol),
			a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Src, b.Src), cmp.Compare(a.Dst, b.Dst), cmp.Compare(a.VLAN, b.VLAN),
		)
	})
	f.Entries, f.Refusals = list(f.Entries), list(f.Refusals)
	return f, err
}

func (s *Server) flushFastpath(r *http.Request) (any, error) {
	if err := paramsOf(r).err; err != nil {
		return nil, err
	}
	n, err := s.engine.FlushFastpath()
	return api.Flushed{Count: n}, err
}

func (s *Server) explain(r *http.Request) (any, error) {
	if err := paramsOf(r).err; err != nil {
		return nil, err
	}
	var e api.Explain
	if err := decode(r, &e); err != nil {
		return nil, err
	}
	if e.Port == "" {
		return nil, badRequest("a frame to be explained wants the port that receives it")
	}
	way, err := s.engine.Explain(e)
	way.Steps = list(way.Steps)
	return way, err
}

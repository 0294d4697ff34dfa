package control

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"weft/frame"
	"weft/internal/control/api"
)

func (s *Server) routes() {
	s.mux.HandleFunc("GET /v1/status", s.read(s.status))
	s.mux.HandleFunc("GET /v1/networks", s.read(s.networks))
	s.mux.HandleFunc("GET /v1/networks/{name}", s.read(s.network))
	s.mux.HandleFunc("PUT /v1/networks/{name}", s.change(put(s.engine.EditNetwork)))
	s.mux.HandleFunc("DELETE /v1/networks/{name}", s.change(remove(s.engine.EditNetwork)))
	s.mux.HandleFunc("GET /v1/ports", s.read(s.ports))
	s.mux.HandleFunc("GET /v1/ports/{name}", s.read(s.port))
	s.mux.HandleFunc("PUT /v1/ports/{name}", s.change(put(s.engine.EditPort)))
	s.mux.HandleFunc("DELETE /v1/ports/{name}", s.change(remove(s.engine.EditPort)))
	s.mux.HandleFunc("GET /v1/fdb", s.read(s.stations))
	s.mux.HandleFunc("POST /v1/fdb", s.change(s.addStation))
	s.mux.HandleFunc("DELETE /v1/fdb", s.change(s.deleteStations))
	s.mux.HandleFunc("GET /v1/nat", s.read(s.sessions))
	s.mux.HandleFunc("DELETE /v1/nat", s.change(s.flushSessions))
	s.mux.HandleFunc("GET /v1/leases", s.read(s.leases))
	s.mux.HandleFunc("DELETE /v1/leases", s.change(s.releaseLease))
	s.mux.HandleFunc("GET /v1/routes", s.read(s.ways))
	s.mux.HandleFunc("GET /v1/fastpath", s.read(s.fastpath))
	s.mux.HandleFunc("DELETE /v1/fastpath", s.change(s.flushFastpath))
	s.mux.HandleFunc("POST /v1/explain", s.read(s.explain))
	s.mux.HandleFunc("GET /v1/counters", s.read(s.counters))
	s.mux.HandleFunc("POST /v1/apply", s.change(s.apply))
	s.mux.HandleFunc("GET /v1/doctor", s.read(s.doctor))
	s.mux.HandleFunc("GET /v1/capture", s.capture)
}

// A handler answers a request with a value or an error.
type handler func(r *http.Request) (any, error)

func (s *Server) read(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := h(r)
		if err != nil {
			answerError(w, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

// change is read for what changes something: the log says who did it.
func (s *Server) change(h handler) http.HandlerFunc {
	return s.read(func(r *http.Request) (any, error) {
		v, err := h(r)
		p := peerFrom(r.Context())
		s.log.Info("control request", zap.String("method", r.Method), zap.String("path", r.URL.RequestURI()),
			zap.Uint32("uid", p.uid), zap.Int32("pid", p.pid), zap.Error(err))
		return v, err
	})
}

func (s *Server) status(r *http.Request) (any, error) {
	return s.engine.Status(), paramsOf(r).err
}

func (s *Server) networks(r *http.Request) (any, error) {
	all := list(s.engine.Networks())
	for i := range all {
		all[i].Ports = list(all[i].Ports)
	}
	return all, paramsOf(r).err
}

func (s *Server) network(r *http.Request) (any, error) {
	name := r.PathValue("name")
	for _, n := range s.engine.Networks() {
		if n.Name == name {
			n.Ports = list(n.Ports)
			return n, paramsOf(r).err
		}
	}
	return nil, fmt.Errorf("network %s: %w", name, ErrNotFound)
}

func (s *Server) ports(r *http.Request) (any, error) {
	all := list(s.engine.Ports())
	for i := range all {
		all[i].Offloads = list(all[i].Offloads)
	}
	return all, paramsOf(r).err
}

func (s *Server) port(r *http.Request) (any, error) {
	name := r.PathValue("name")
	for _, p := range s.engine.Ports() {
		if p.Name == name {
			p.Offloads = list(p.Offloads)
			return p, paramsOf(r).err
		}
	}
	return nil, fmt.Errorf("port %s: %w", name, ErrNotFound)
}

// An edit is EditNetwork or EditPort of an Engine.
type edit func(name string, op Op, values map[string]any, runtime bool) (api.Applied, error)

func put(e edit) handler {
	return func(r *http.Request) (any, error) {
		q := paramsOf(r, "create", "update", "runtime")
		op, runtime := OpSet, q.flag("runtime")
		switch create, update := q.flag("create"), q.flag("update"); {
		case create && update:
			q.fail("query: create and update exclude each other")
		case create:
			op = OpCreate
		case update:
			op = OpUpdate
		}
		if q.err != nil {
			return nil, q.err
		}
		var body api.Edit
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		plain(body.Values)
		return applied(e(r.PathValue("name"), op, body.Values, runtime))
	}
}

func remove(e edit) handler {
	return func(r *http.Request) (any, error) {
		q := paramsOf(r, "runtime")
		runtime := q.flag("runtime")
		if q.err != nil {
			return nil, q.err
		}
		return applied(e(r.PathValue("name"), OpDelete, nil, runtime))
	}
}

func (s *Server) apply(r *http.Request) (any, error) {
	if err := paramsOf(r).err; err != nil {
		return nil, err
	}
	var a api.Apply
	if err := decode(r, &a); err != nil {
		return nil, err
	}
	return applied(s.engine.Apply(a))
}

func applied(a api.Applied, err error) (any, error) {
	a.Actions = list(a.Actions)
	return a, err
}

func (s *Server) stations(r *http.Request) (any, error) {
	q := paramsOf(r, "network")
	if q.err != nil {
		return nil, q.err
	}
	all, err := s.engine.Stations(q.text("network"))
	slices.SortFunc(all, func(a, b api.Station) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.MAC, b.MAC))
	})
	return list(all), err
}

func (s *Server) addStation(r *http.Request) (any, error) {
	if err := paramsOf(r).err; err != nil {
		return nil, err
	}
	var st api.Station
	if err := decode(r, &st); err != nil {
		return nil, err
	}
	if st.Network == "" || st.Port == "" || st.MAC == 0 {
		return nil, badRequest("a static entry wants network, mac and port")
	}
	if st.MAC.IsGroup() {
		return nil, badRequest("%s is a group address (want that of one station)", st.MAC)
	}
	err := s.engine.AddStation(st.Network, st.MAC, st.Port)
	return api.Station{Network: st.Network, MAC: st.MAC, Port: st.Port, Static: true}, err
}

// deleteStations removes one entry if mac is given, else flushes the dynamic ones.
func (s *Server) deleteStations(r *http.Request) (any, error) {
	q := paramsOf(r, "network", "port", "mac")
	network, port := q.text("network"), q.text("port")
	if !q.values.Has("mac") {
		if q.err != nil {
			return nil, q.err
		}
		n, err := s.engine.FlushStations(network, port)
		return api.Flushed{Count: n}, err
	}
	mac, err := frame.ParseMAC(q.text("mac"))
	if err != nil {
		q.fail("query: mac: %v", err)
	}
	if network == "" || port != "" {
		q.fail("query: to delete one entry give its network and mac only")
	}
	if q.err != nil {
		return nil, q.err
	}
	return api.Flushed{Count: 1}, s.engine.DeleteStation(network, mac)
}

func (s *Server) counters(r *http.Request) (any, error) {
	q := paramsOf(r, "port")
	if q.err != nil {
		return nil, q.err
	}
	all, err := s.engine.Counters(q.text("port"))
	return list(all), err
}

func (s *Server) doctor(r *http.Request) (any, error) {
	return list(s.engine.Doctor()), paramsOf(r).err
}

// list makes a list without entries [] in JSON, not null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

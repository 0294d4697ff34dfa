package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

const (
	readTimeout     = 10 * time.Second // for a whole request
	writeTimeout    = time.Minute      // for a whole answer; captures have none
	shutdownTimeout = 3 * time.Second  // for requests that run when Close is called
)

var errStopping = errors.New("weftd is stopping")

// A Server answers the API's requests from an Engine.
type Server struct {
	engine   Engine
	gid      int
	log      *zap.Logger
	mux      *http.ServeMux
	http     *http.Server
	captures captures
	stop     context.CancelCauseFunc // ends captures
}

// NewServer makes a Server for root and the members of group gid (-1: none).
func NewServer(e Engine, gid int, log *zap.Logger) *Server {
	ctx, stop := context.WithCancelCause(context.Background())
	s := &Server{
		engine:   e,
		gid:      gid,
		log:      log,
		mux:      http.NewServeMux(),
		captures: captures{engine: e, ports: make(map[string]*fanout)},
		stop:     stop,
	}
	s.routes()
	s.http = &http.Server{
		Handler:      http.HandlerFunc(s.serve),
		ReadTimeout:  readTimeout,
		WriteTimeout: writeTimeout,
		BaseContext:  func(net.Listener) context.Context { return ctx },
		ConnContext:  withPeer,
		ErrorLog:     zap.NewStdLog(log),
	}
	return s
}

// Serve answers requests until Close, which makes it return nil, or until l fails.
// It closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Close ends captures, lets other requests finish for some seconds, and closes the
// listeners of Serve. The Engine is not asked anything after it, but a call that
// took longer than that may still be running.
func (s *Server) Close() error {
	s.stop(errStopping)
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// serve is around every request: who asks, is there such a route, did we panic.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			s.log.Error("control request panicked", zap.String("method", r.Method),
				zap.String("path", r.URL.Path), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			answerError(w, errors.New("internal error: see weftd's log"))
		}
	}()
	if p := peerFrom(r.Context()); !p.allowed(s.gid) {
		answerError(w, refusal{http.StatusForbidden, fmt.Sprintf(
			"user %d may not control weftd: join group %s (usermod -aG %[2]s USER, then log in again) or be root", p.uid, Group)})
		return
	}
	if h, pattern := s.mux.Handler(r); pattern == "" {
		answerUnrouted(w, r, h)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// answerUnrouted gives the mux's own answers (404, 405 with Allow) the API's form.
func answerUnrouted(w http.ResponseWriter, r *http.Request, h http.Handler) {
	rec := statusRecorder{ResponseWriter: w}
	h.ServeHTTP(&rec, r)
	text := "no such path: " + r.URL.Path
	if rec.status == http.StatusMethodNotAllowed {
		text = fmt.Sprintf("%s: method %s not possible (want %s)", r.URL.Path, r.Method, w.Header().Get("Allow"))
	}
	answerError(w, refusal{rec.status, text})
}

// A statusRecorder keeps an answer's status and headers and drops the rest.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int)      { r.status = status }
func (r *statusRecorder) Write(p []byte) (int, error) { return len(p), nil }

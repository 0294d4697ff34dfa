package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weft/internal/control/api"
)

// maxBody is the longest request body, in bytes.
const maxBody = 1 << 20

// A refusal is an error of the request itself.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func badRequest(format string, args ...any) error {
	return refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("answer %T: %v", v, err)) // our own types always encode
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the client hung up: nobody is left to be told
}

// answerError writes err as an api.Error.
func answerError(w http.ResponseWriter, err error) {
	a := api.Error{Error: err.Error()}
	var faults Faults
	if errors.As(err, &faults) {
		// The faults go into their own list; what an outer error says stays.
		a.Faults = faults
		a.Error = strings.TrimSuffix(strings.TrimSuffix(a.Error, faults.Error()), ": ")
		if a.Error == "" {
			a.Error = "the document is wrong"
		}
	}
	answer(w, statusOf(err), a)
}

func statusOf(err error) int {
	var r refusal
	switch {
	case errors.As(err, &r):
		return r.status
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrConflict):
		return http.StatusConflict
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrReadOnly):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// decode reads the request's body, one JSON object without unknown fields, into v.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	d.UseNumber()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			return badRequest("request body: something follows the JSON object")
		}
		return nil
	}
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("request body: more than %d bytes", tooLong.Limit)}
	case err == io.EOF:
		return badRequest("request body: empty (want a JSON object)")
	}
	return badRequest("request body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// plain turns the numbers of a decoded value into int64 where they are whole, else
// float64.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64() // out of range: infinite, which no key allows
		return f
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

// params are the request's query parameters. What is read is known; any other is
// refused, so that a misspelt one changes nothing.
type params struct {
	values url.Values
	err    error
}

func paramsOf(r *http.Request, known ...string) *params {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &params{err: badRequest("query: %v", err)}
	}
	p := &params{values: values}
	for _, name := range known {
		if len(values[name]) > 1 {
			p.fail("query: %s is given twice", name)
		}
	}
	for name := range values {
		if !slices.Contains(known, name) {
			p.fail("query: unknown parameter %q (want %s)", name, strings.Join(known, ", "))
		}
	}
	return p
}

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = badRequest(format, args...)
	}
}

func (p *params) text(name string) string { return p.values.Get(name) }

func (p *params) flag(name string) bool {
	s := p.text(name)
	if s == "" {
		return false
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		p.fail("query: %s=%q (want 1 or 0)", name, s)
	}
	return on
}

func (p *params) number(name string, limit uint64) uint64 {
	s := p.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > limit {
		p.fail("query: %s=%q (want a number from 0 to %d)", name, s, limit)
	}
	return n
}

package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"weft/internal/control"
	"weft/internal/control/api"
	"weft/internal/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browse returns a plain HTTP client of the socket, without package client's ways.
func browse(t *testing.T, socket string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func request(t *testing.T, c *http.Client, method, path, body string) (status int, answer string, h http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://weftd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestRoutes(t *testing.T) {
	e := controltest.New()
	c := browse(t, controltest.Serve(t, e))
	applied := `{"actions":["change network lan: mtu 1500 -> 9000"],"warnings":["port vm1 keeps 1500 until its guest restarts"]}`
	for _, tt := range []struct {
		method, path, body string
		want               string // the answer has it
		call               string // the engine was asked to do it
	}{
		{"GET", "/v1/status", "", `"pid":4711`, ""},
		{"GET", "/v1/networks", "", `[{"name":"lan"`, ""},
		{"GET", "/v1/networks/lab", "", `{"name":"lab"`, ""},
		{"GET", "/v1/ports", "", `[{"name":"vm1"`, ""},
		{"GET", "/v1/ports", "", `"offloads":[],`, ""},
		{"GET", "/v1/ports/eth0:wire", "", `{"name":"eth0:wire"`, ""},
		{"GET", "/v1/fdb", "", `[{"network":"lab"`, ""},
		{"GET", "/v1/fdb?network=lan", "", `[{"network":"lan","mac":"52:54:00:00:00:01","port":"vm1","static":true`, ""},
		{"GET", "/v1/fdb?network=none", "", "[]\n", ""},
		{"GET", "/v1/counters", "", `[{"port":"vm1"`, ""},
		{"GET", "/v1/counters?port=vm2", "", `[{"port":"vm2"`, ""},
		{"GET", "/v1/doctor", "", `"severity":"error"`, ""},
		{"GET", "/v1/networks/dmz", "", `"subnets":["10.20.0.1/24"],"gateway":"wf-g-dmz","route_hints":["ip route add 10.20.0.0/24 via 192.0.2.5"]`, ""},
		{"GET", "/v1/nat", "", `[{"network":"default","protocol":"icmp","inside":"192.168.150.10:77"`, ""},
		{"GET", "/v1/nat?network=default&port=vm2&limit=1", "", `[{"network":"default","protocol":"udp"`, ""},
		{"GET", "/v1/nat?network=dmz", "", "[]\n", ""},
		{"DELETE", "/v1/nat", "", `{"count":3}`, `flush nat "" invalid IP`},
		{"DELETE", "/v1/nat?network=default", "", `{"count":3}`, `flush nat "default" invalid IP`},
		{"DELETE", "/v1/nat?network=default&address=fd5a:150::10", "", `{"count":3}`, `flush nat "default" fd5a:150::10`},
		{"GET", "/v1/leases", "", `[{"network":"default","address":"192.168.150.10",`, ""},
		{"GET", "/v1/leases?network=dmz", "", "[]\n", ""},
		{"DELETE", "/v1/leases?network=default&address=192.168.150.10", "", `{"count":1}`, "release lease default 192.168.150.10"},
		{"GET", "/v1/routes", "", `[{"network":"default","to":"192.168.150.0/24","device":"wf-g-default","origin":"connected","metric":0}`, ""},
		{"GET", "/v1/routes?network=dmz", "", `[{"network":"dmz"`, ""},
		{"GET", "/v1/fastpath", "", `"entries":[{"in":"vm1","out":"eth0:wire","kind":"flow","src":"52:54:00:00:00:01",`, ""},
		{"GET", "/v1/fastpath?port=vm2&limit=1", "", `"entries":[{"in":"vm1","out":"vm2","kind":"station"`, ""},
		{"GET", "/v1/fastpath?refused=1&port=vm2", "", `"entries":[],"refusals":[{"port":"vm2"`, ""},
		{"GET", "/v1/fastpath?port=none", "", `"entries":[],"refusals":[]}`, ""},
		{"DELETE", "/v1/fastpath", "", `{"count":5}`, "flush fastpath"},
		{"POST", "/v1/explain", `{"port":"vm1","protocol":"udp","from":"10.0.0.2:53","to":"[fd00::1]:53"}`, `{"steps":[{"stage":"port",`, "explain {Port:vm1 Flow:{Src:00:00:00:00:00:00 Dst:00:00:00:00:00:00 VLAN:0 Protocol:udp From:10.0.0.2:53 To:[fd00::1]:53}}"},
		{"PUT", "/v1/networks/lan", `{"values":{"mtu":9000}}`, applied, `edit network lan op=1 map[string]interface {}{"mtu":9000} runtime=false`},
		{"PUT", "/v1/networks/a%2Fb?create=1", `{"values":{}}`, applied, `edit network a/b op=2 map[string]interface {}{} runtime=false`},
		{"PUT", "/v1/ports/vm1?update=1&runtime=1", `{"values":{"mac":null,"x":[1,2.5,true]}}`, applied, `edit port vm1 op=3 map[string]interface {}{"mac":interface {}(nil), "x":[]interface {}{1, 2.5, true}} runtime=true`},
		{"DELETE", "/v1/networks/lan", "", applied, `edit network lan op=4 map[string]interface {}(nil) runtime=false`},
		{"DELETE", "/v1/ports/vm1?runtime=true", "", applied, `edit port vm1 op=4 map[string]interface {}(nil) runtime=true`},
		{"POST", "/v1/fdb", `{"network":"lan","mac":"52:54:00:00:00:07","port":"vm1"}`, `"static":true`, "add station lan 52:54:00:00:00:07 vm1"},
		{"DELETE", "/v1/fdb?network=lan&mac=52:54:00:00:00:07", "", `{"count":1}`, "delete station lan 52:54:00:00:00:07"},
		{"DELETE", "/v1/fdb?network=lan&port=vm1", "", `{"count":2}`, `flush "lan" "vm1"`},
		{"DELETE", "/v1/fdb", "", `{"count":2}`, `flush "" ""`},
		{"POST", "/v1/apply", `{}`, applied, `apply "" dry=false runtime=false`},
		{"POST", "/v1/apply", `{"document":"networks: []","dry_run":true,"runtime":true}`, applied, `apply "networks: []" dry=true runtime=true`},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			status, answer, h := request(t, c, tt.method, tt.path, tt.body)
			if status != 200 || h.Get("Content-Type") != "application/json" || !strings.Contains(answer, tt.want) {
				t.Errorf("status %d, %s, want 200 and %s; answer:\n%s", status, h.Get("Content-Type"), tt.want, answer)
			}
			if got := strings.Join(e.Calls(), "\n"); got != tt.call {
				t.Errorf("engine was called\n%s, want\n%s", got, tt.call)
			}
		})
	}
}

func TestRequestRefused(t *testing.T) {
	e := controltest.New()
	c := browse(t, controltest.Serve(t, e))
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string // the error has it
	}{
		{"GET", "/", "", 404, "no such path: /"},
		{"GET", "/v2/status", "", 404, "no such path: /v2/status"},
		{"POST", "/v1/status", "", 405, "/v1/status: method POST not possible (want GET, HEAD)"},
		{"GET", "/v1/status?verbose=1", "", 400, `unknown parameter "verbose"`},
		{"GET", "/v1/networks/none", "", 404, "network none: not found"},
		{"GET", "/v1/ports/none", "", 404, "port none: not found"},
		{"GET", "/v1/fdb?network=a&network=b", "", 400, "network is given twice"},
		{"GET", "/v1/fdb?network=%zz", "", 400, "query: "},
		{"PUT", "/v1/ports/vm1", "", 400, "request body: empty"},
		{"PUT", "/v1/ports/vm1", "{", 400, "request body: unexpected EOF"},
		{"PUT", "/v1/ports/vm1", `{"value":{}}`, 400, `request body: unknown field "value"`},
		{"PUT", "/v1/ports/vm1", `{"values":7}`, 400, "request body: cannot unmarshal"},
		{"PUT", "/v1/ports/vm1", `{"values":{}} {}`, 400, "something follows"},
		{"PUT", "/v1/ports/vm1?runtme=1", `{"values":{}}`, 400, `unknown parameter "runtme"`},
		{"PUT", "/v1/ports/vm1?runtime=maybe", `{"values":{}}`, 400, `runtime="maybe"`},
		{"PUT", "/v1/ports/vm1?create=1&update=1", `{"values":{}}`, 400, "exclude each other"},
		{"POST", "/v1/apply", `{"document":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "more than 1048576 bytes"},
		{"POST", "/v1/fdb", `{"network":"lan","mac":"52:54","port":"vm1"}`, 400, `"52:54" is not a MAC address`},
		{"POST", "/v1/fdb", `{"network":"lan","mac":"52:54:00:00:00:07"}`, 400, "wants network, mac and port"},
		{"POST", "/v1/fdb", `{"network":"lan","mac":"ff:ff:ff:ff:ff:ff","port":"vm1"}`, 400, "group address"},
		{"DELETE", "/v1/fdb?network=lan&mac=x", "", 400, `"x" is not a MAC address`},
		{"DELETE", "/v1/fdb?network=lan&mac=", "", 400, `"" is not a MAC address`}, // and no flush
		{"DELETE", "/v1/fdb?mac=52:54:00:00:00:07", "", 400, "give its network and mac only"},
		{"GET", "/v1/nat?limit=-1", "", 400, `limit="-1"`},
		{"GET", "/v1/nat?address=10.0.0.1", "", 400, `unknown parameter "address"`},
		{"DELETE", "/v1/nat?network=default&address=x", "", 400, `address="x" (want an address such as 192.168.150.10)`},
		{"DELETE", "/v1/nat?network=default&address=", "", 400, `address=""`}, // and not all of them
		{"DELETE", "/v1/nat?address=10.0.0.1", "", 400, "give its network too"},
		{"GET", "/v1/leases?address=10.0.0.1", "", 400, `unknown parameter "address"`},
		{"DELETE", "/v1/leases", "", 400, "give its network and address"},
		{"DELETE", "/v1/leases?network=default", "", 400, "give its network and address"},
		{"DELETE", "/v1/leases?network=default&address=10.0.0", "", 400, `address="10.0.0"`},
		{"GET", "/v1/fastpath?network=lan", "", 400, `unknown parameter "network"`},
		{"GET", "/v1/fastpath?limit=many", "", 400, `limit="many"`},
		{"DELETE", "/v1/fastpath?port=vm1", "", 400, `unknown parameter "port"`}, // and not all of them
		{"POST", "/v1/explain", `{"protocol":"tcp"}`, 400, "wants the port that receives it"},
		{"POST", "/v1/explain", `{"port":"vm1","to":"10.0.0.1"}`, 400, "request body: "},
		{"GET", "/v1/routes?port=vm1", "", 400, `unknown parameter "port"`},
		{"POST", "/v1/leases", "", 405, "want DELETE, GET, HEAD"},
		{"GET", "/v1/capture", "", 400, "port is missing"},
		{"GET", "/v1/capture?port=none", "", 404, "port none: not found"},
		{"GET", "/v1/capture?port=vm1&snap=-1", "", 400, `snap="-1"`},
		{"GET", "/v1/capture?port=vm1&snap=99999999", "", 400, `snap="99999999"`},
		{"GET", "/v1/capture?port=vm1&count=many", "", 400, `count="many"`},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			status, answer, _ := request(t, c, tt.method, tt.path, tt.body)
			var got api.Error
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatalf("answer %q: %v", answer, err)
			}
			if status != tt.status || !strings.Contains(got.Error, tt.want) {
				t.Errorf("status %d, error %q; want %d, %q", status, got.Error, tt.status, tt.want)
			}
			if calls := e.Calls(); len(calls) > 0 {
				t.Errorf("engine was called: %q", calls)
			}
		})
	}
}

func TestEngineErrorsChooseTheStatus(t *testing.T) {
	e := controltest.New()
	c := browse(t, controltest.Serve(t, e))
	faults := control.Faults{"networks[0].mtu: 7 is too small", "ports[1].type: unknown"}
	for _, tt := range []struct {
		err    error
		status int
		text   string
		faults []string
	}{
		{fmt.Errorf("port x: %w", control.ErrNotFound), 404, "port x: not found", nil},
		{fmt.Errorf("port x: %w", control.ErrConflict), 409, "port x: conflict", nil},
		{fmt.Errorf("port x: %w", control.ErrInvalid), 400, "port x: invalid", nil},
		{fmt.Errorf("port x: %w", control.ErrReadOnly), 403, "port x: config file read-only", nil},
		{errors.New("out of luck"), 500, "out of luck", nil},
		{faults, 400, "the document is wrong", faults},
		{fmt.Errorf("/etc/weft/weft.yaml: %w", faults), 400, "/etc/weft/weft.yaml", faults},
	} {
		e.Fail(tt.err)
		for _, r := range [][3]string{
			{"GET", "/v1/fdb", ""},
			{"GET", "/v1/counters", ""},
			{"POST", "/v1/apply", "{}"},
			{"PUT", "/v1/ports/x", "{}"},
			{"DELETE", "/v1/networks/x", ""},
			{"POST", "/v1/fdb", `{"network":"lan","mac":"52:54:00:00:00:07","port":"vm1"}`},
			{"DELETE", "/v1/fdb", ""},
			{"GET", "/v1/nat", ""},
			{"DELETE", "/v1/nat", ""},
			{"GET", "/v1/leases", ""},
			{"DELETE", "/v1/leases?network=default&address=10.0.0.1", ""},
			{"GET", "/v1/routes", ""},
			{"DELETE", "/v1/fdb?network=lan&mac=52:54:00:00:00:07", ""},
		} {
			status, answer, _ := request(t, c, r[0], r[1], r[2])
			var got api.Error
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatalf("answer %q: %v", answer, err)
			}
			if status != tt.status || got.Error != tt.text || !slices.Equal(got.Faults, tt.faults) {
				t.Errorf("%s %s: status %d, %+v; want %d, %q, %q", r[0], r[1], status, got, tt.status, tt.text, tt.faults)
			}
		}
	}
}

// A broken Engine breaks its request, not the server.
type broken struct{ *controltest.Engine }

func (broken) Doctor() []api.Finding { panic("boom") }

func TestPanicIsContained(t *testing.T) {
	c := browse(t, controltest.Serve(t, broken{controltest.New()}))
	status, answer, _ := request(t, c, "GET", "/v1/doctor", "")
	if status != 500 || !strings.Contains(answer, "internal error") || strings.Contains(answer, "boom") {
		t.Errorf("status %d, answer %s", status, answer)
	}
	if status, _, _ = request(t, c, "GET", "/v1/status", ""); status != 200 {
		t.Errorf("status %d after the panic", status)
	}
}

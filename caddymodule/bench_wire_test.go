package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// wireCaddyfile has one route for each case, all to the same API.
const wireCaddyfile = `{
	oauth {
		issuer $GATE {
			scope api:read "Read"
			client app {
				secret_hash $HASH
				grant client_credentials
				scope api:read
			}
			access_token_lifetime 6h
		}
	}
}

$GATE {
	oauth_issuer
	oauth_protect /api/* {
		resource $GATE/api
		scope GET,HEAD api:read
	}
	oauth_protect /rules/* {
		resource $GATE/api
		scope POST /rules/write/* api:write
		scope PUT,DELETE api:admin
		scope GET,HEAD /rules/* api:read
		client app
		claim client_id app
		identity_header X-Issuer iss
		identity_header X-Subject sub
		identity_header X-Scope scope
	}
	reverse_proxy $BACKEND
}
`

// backendCaddyfile is an API that does nothing, in a process of its own, so that
// its processor time is not counted.
const backendCaddyfile = `{
}

$GATE {
	respond ok
}
`

// wireCase is one kind of load.
type wireCase struct {
	name, path, tokens string // tokens: a file with one a line; none when empty
	refused            bool

	rates, cpus []float64 // of each turn: requests a second, and processor time for one
}

// median is the middle one: a turn in which the machine had something else to do
// does not move it.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// medianRatio is the median of the ratios turn by turn: what one turn of both is
// measured against was measured seconds before.
func medianRatio(of, to []float64) float64 {
	ratios := make([]float64, len(of))
	for n := range of {
		ratios[n] = of[n] / to[n]
	}
	return median(ratios)
}

// BenchmarkGateWire compares a plain reverse_proxy with routes behind a gate: wrk
// sends the requests, and the gate's process has nothing else to do, so that its
// processor time (/proc/PID/stat) is that of the requests. The plain route gets the
// same requests, token and all. The cases take turns of two seconds, in one
// command; docs/benchmarks.md says how to read it.
func BenchmarkGateWire(b *testing.B) {
	p := startWire(b)
	one, many, garbage := p.tokenFile("one", 1), p.tokenFile("many", 10_000), p.garbageFile("garbage", 100_000)
	for _, connections := range []int{32, 128} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			cases := []*wireCase{
				{name: "plain", path: "/plain/x", tokens: one}, // the same requests as to the gate
				{name: "one-token", path: "/api/x", tokens: one},
				{name: "10000-tokens", path: "/api/x", tokens: many},
				{name: "five-rules", path: "/rules/x", tokens: one},
				{name: "refused", path: "/api/x", refused: true},
				{name: "forged", path: "/api/x", tokens: garbage, refused: true}, // each costs a signature check
			}
			const turns = 7
			for b.Loop() {
				for turn := range turns + 1 {
					for _, c := range cases {
						if turn == 0 { // long enough to see all tokens once
							p.load(b, c, connections, 8*time.Second)
							continue
						}
						rate, cpu := p.load(b, c, connections, 2*time.Second)
						c.rates, c.cpus = append(c.rates, rate), append(c.cpus, cpu)
					}
				}
			}
			for _, c := range cases {
				b.ReportMetric(median(c.rates), c.name+"-req/s")
				b.ReportMetric(median(c.cpus)*1e6, c.name+"-cpu-us/req")
				b.ReportMetric(medianRatio(c.rates, cases[0].rates), c.name+"-throughput-ratio")
				b.ReportMetric(medianRatio(c.cpus, cases[0].cpus), c.name+"-cpu-ratio")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkGateGarbage sends a million tokens of which none was seen before, and
// reports by how much the process grew and what became of the slowest answers to
// one good client meanwhile.
func BenchmarkGateGarbage(b *testing.B) {
	p := startWire(b)
	good := &wireCase{path: "/api/x", tokens: p.tokenFile("one", 1)}
	calm := p.slowest(b, good, 5*time.Second)
	grown, sent := p.residentMiB(b), 0
	var worst time.Duration
	for b.Loop() {
		sent, worst = 0, 0
		for part := 0; sent < 1_000_000; part++ {
			flood := &wireCase{path: "/api/x", refused: true, tokens: p.garbageFile("garbage"+strconv.Itoa(part), 500_000)}
			var group sync.WaitGroup
			group.Go(func() { sent += int(p.wrk(b, flood, 8, 10*time.Second).requests) })
			worst = max(worst, p.slowest(b, good, 9*time.Second))
			group.Wait()
		}
	}
	b.ReportMetric(float64(sent), "garbage-tokens")
	b.ReportMetric(p.residentMiB(b)-grown, "grown-MiB")
	b.ReportMetric(float64(calm.Microseconds()), "p99-calm-us")
	b.ReportMetric(float64(worst.Microseconds()), "p99-flood-us")
	b.ReportMetric(float64(worst)/float64(calm), "p99-ratio")
	b.ReportMetric(0, "ns/op")
}

// startWire runs a gate and an API, each in a process of its own.
func startWire(b *testing.B) *process {
	b.Helper()
	if _, err := exec.LookPath("wrk"); err != nil {
		b.Fatal("wrk sends the requests; install the package wrk: ", err)
	}
	api := startProcess(b, backendCaddyfile, "")
	return startProcess(b, wireCaddyfile, strings.TrimPrefix(api.url, "http://"))
}

// tokenFile writes n tokens of the client.
func (p *process) tokenFile(name string, n int) string {
	lines := make([]string, n)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < n; i += 8 {
				request, _ := http.NewRequestWithContext(context.Background(), "POST", p.url+"/token",
					strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
				request.SetBasicAuth("app", appSecret)
				request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				lines[i] = accessToken(p.t, client, request)
			}
		})
	}
	group.Wait()
	return p.writeLines(name, lines)
}

func accessToken(tb testing.TB, client *http.Client, request *http.Request) string {
	response, err := client.Do(request)
	if err != nil {
		tb.Error(err)
		return ""
	}
	a, err := read(response)
	if err != nil {
		tb.Error(err)
		return ""
	}
	return a.member(tb, "access_token")
}

// garbageFile writes n tokens that look like ours and are not: a good header, and
// a signature by nobody.
func (p *process) garbageFile(name string, n int) string {
	good := p.appToken()
	header, rest, _ := strings.Cut(good, ".")
	_, signature, _ := strings.Cut(rest, ".")
	lines := make([]string, n)
	for i := range lines {
		claims := fmt.Sprintf(`{"iss":%q,"sub":"app","aud":%q,"client_id":"app","scope":"api:read","iat":1,"exp":4102444800,"jti":"%s-%d"}`,
			p.url, p.url+"/api", name, i)
		lines[i] = header + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + signature
	}
	return p.writeLines(name, lines)
}

func (p *process) writeLines(name string, lines []string) string {
	file := filepath.Join(p.dir, name+".txt")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// wrkScript shows each token of a file in turn.
const wrkScript = `
local tokens, n = {}, 0
if %q ~= "" then for line in io.lines(%q) do tokens[#tokens + 1] = "Bearer " .. line end end
request = function()
	if #tokens > 0 then
		n = n %% #tokens + 1
		wrk.headers["Authorization"] = tokens[n]
	end
	return wrk.format("GET", %q)
end
`

// measured is what wrk prints.
type measured struct {
	rate, requests float64
	p99            time.Duration
	refused        bool // one or more
}

var (
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkP99      = regexp.MustCompile(`99%\s+([\d.]+[mu]?s)`)
	wrkRefused  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// wrk sends a case's requests for some time.
func (p *process) wrk(b *testing.B, c *wireCase, connections int, d time.Duration) measured {
	m, output := p.runWrk(b, fmt.Sprintf(wrkScript, c.tokens, c.tokens, c.path), connections, d)
	if m.refused != c.refused {
		b.Errorf("%s: refused: %v\n%s", c.path, m.refused, output)
	}
	return m
}

// runWrk sends the requests that a script makes.
func (p *process) runWrk(b *testing.B, script string, connections int, d time.Duration) (measured, []byte) {
	file := filepath.Join(p.dir, fmt.Sprintf("wrk-%x.lua", sha256.Sum256([]byte(script))))
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		b.Error(err)
	}
	output, err := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(int(d.Seconds()))+"s",
		"--latency", "-s", file, p.url).CombinedOutput()
	if err != nil {
		b.Errorf("wrk: %v: %s", err, output)
	}
	p99, _ := time.ParseDuration(find(wrkP99, output))
	return measured{number(find(wrkRate, output)), number(find(wrkRequests, output)), p99, wrkRefused.Match(output)}, output
}

func find(pattern *regexp.Regexp, text []byte) string {
	if match := pattern.FindSubmatch(text); match != nil {
		return string(match[1])
	}
	return ""
}

func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

// load returns requests a second, and the processor time of the server for each.
func (p *process) load(b *testing.B, c *wireCase, connections int, d time.Duration) (rate, cpu float64) {
	before := p.processorSeconds(b)
	m := p.wrk(b, c, connections, d)
	return m.rate, (p.processorSeconds(b) - before) / m.requests
}

// slowest is the time within which 99 of 100 requests are answered, over one
// connection.
func (p *process) slowest(b *testing.B, c *wireCase, d time.Duration) time.Duration {
	return p.wrk(b, c, 1, d).p99
}

// processorSeconds is what the server's process has used (proc(5)).
func (p *process) processorSeconds(b *testing.B) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	const ticksPerSecond = 100
	return (number(fields[11]) + number(fields[12])) / ticksPerSecond
}

// residentMiB is the memory of the server's process.
func (p *process) residentMiB(b *testing.B) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	return number(find(regexp.MustCompile(`VmRSS:\s+(\d+) kB`), text)) / 1024
}

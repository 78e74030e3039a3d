package probe

import (
	"fmt"
	"net/http"
	"strings"
)

// pathTrials: the path of the API in spellings that the gate could take for
// another one, without a token. None may reach the API: it may understand the
// spelling.
func (p *probe) pathTrials() []*trial {
	const class = "path"
	var trials []*trial
	for _, kind := range p.spelledPaths() {
		trials = append(trials, p.pathTrial(class, kind.name, kind.targets))
	}
	for _, open := range p.OpenPaths {
		trials = append(trials, p.pathTrial(class, "out of "+open, leading(strings.TrimSuffix(open, "/"), p.Target.url.EscapedPath())))
	}
	return append(trials, p.absoluteTrial(class))
}

type spelledPath struct {
	name    string
	targets []string
}

// spelledPaths are the spellings by kind. Where the path has several segments,
// the slashes between them are spelled, too.
func (p *probe) spelledPaths() []spelledPath {
	path := p.Target.url.EscapedPath()
	inner := strings.TrimPrefix(path, "/")
	within := func(slash string) string { return "/" + strings.ReplaceAll(inner, "/", slash) }
	return []spelledPath{
		{"double slash", []string{"/" + path, "//" + path, within("//"), path + "//"}},
		{"dot segments", []string{"/." + path, "/x/.." + path, within("/./"), within("/x/../"), path + "/.", path + "/x/.."}},
		{"encoded dot segments", []string{
			"/%2e" + path, "/x/%2e%2e" + path, "/x/.%2e" + path, "/x/%2E." + path, within("/%2e/"), within("/x/%2e%2e/"), path + "/%2e",
		}},
		{"encoded slash", []string{"/%2f" + inner, "/x/..%2f" + inner, within("%2f"), within("%2F"), path + "%2f", path + "%2fx%2f.."}},
		{"backslash", []string{`/\` + inner, `/x/..\` + inner, within(`\`), within("%5c"), "/x/..%5c" + inner, path + `\`, path + "%5C"}},
		{"double encoding", []string{
			"/%252e" + path, "/x/%252e%252e" + path, "/x/..%252f" + inner, within("%252f"), within("%255c"), "/" + encodedOnce(inner, "%25"), "/%u002e" + path,
		}},
		{"path parameters", []string{"/;" + path, "/;x=1" + path, "/x/..;" + path, "/x/..;x=1" + path, within(";/"), path + ";", path + ";x=1", path + "%3b"}},
		{"control characters", []string{path + "%00", path + "%0a", path + "%0d%0a", path + "%09", "/x/..%00" + path, path + "%20", path + "%7f"}},
		{"not UTF-8", []string{"/x/%c0%ae%c0%ae" + path, "/%c0%af" + inner, path + "%ff", "/x/\xc0\xae\xc0\xae" + path}},
		{"encoded letters and other case", []string{"/" + encodedOnce(inner, "%"), "/" + strings.ToUpper(inner), "/" + strings.ToLower(inner)}},
		{"endings", []string{path + "/", path + ".", path + "..", path + "%2e", path + ".json", path + "::$DATA", path + "?", path + "#x", path + "%23", path + "%3f"}},
	}
}

// leading are ways from an open path to another one.
func leading(open, path string) (targets []string) {
	for _, way := range []string{
		"/..", "/../..", "//..", "/./..", "/%2e%2e", "/.%2e", "/..;", "/..;x=1", "/a/..;/..;", "/%252e%252e", "/..%00", "/..%20", "/..%09", "/...",
		"/%c0%ae%c0%ae", "/%u002e%u002e",
	} {
		targets = append(targets, open+way+path)
	}
	inner := strings.TrimPrefix(path, "/")
	for _, way := range []string{"/..%2f", "/%2e%2e%2f", "/..%5c", `/..\`, "/..%255c", "/..%252f", "%2f..%2f", "%3f/../", "%23/../", "/x%00/../../"} {
		targets = append(targets, open+way+inner)
	}
	return targets
}

// encodedOnce encodes the first letter of a path.
func encodedOnce(inner, percent string) string {
	if inner == "" {
		return ""
	}
	return fmt.Sprintf("%s%02x%s", percent, inner[0], inner[1:])
}

// pathTrial asks for each target once. Those that are the path itself say nothing
// new.
func (p *probe) pathTrial(class, name string, targets []string) *trial {
	t := &trial{class: class, name: name, judge: p.refused}
	query := ""
	if raw := p.Target.url.RawQuery; raw != "" {
		query = "?" + raw
	}
	seen := map[string]bool{p.Target.url.EscapedPath(): true}
	for _, target := range targets {
		if !seen[target] {
			seen[target] = true
			t.shots = append(t.shots, p.shot(http.MethodGet, target+query).named(target))
		}
	}
	return t
}

// absoluteTrial: the target is a whole URL (RFC 9112 §3.2.2), which proxies read
// otherwise than Host.
func (p *probe) absoluteTrial(class string) *trial {
	path, host := p.Target.url.RequestURI(), p.Target.url.Host
	t := &trial{class: class, name: "absolute form", judge: p.refused}
	for _, target := range []string{
		"http://" + host + path, "https://" + host + path, "HTTP://" + host + path, "http://" + host + "/" + path,
		"http://unknown." + p.word + ".invalid" + path, "http://x@" + host + path, "gopher://" + host + path,
	} {
		t.shots = append(t.shots, p.shot(http.MethodGet, target).named(target))
	}
	return t
}

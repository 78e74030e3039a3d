package probe

import (
	"fmt"
	"net/http"
	"strings"
)

// placeTrials: the good token where no gate looks for it (RFC 6750 §2, RFC 9700
// §4.3.2), and several credentials of which two readers could choose differently.
func (p *probe) placeTrials() []*trial {
	const class = "place"
	good := p.given.Tokens.Good
	unshown := p.refusedWith("", http.StatusUnauthorized)
	refused := p.refusedWith("-", http.StatusUnauthorized, http.StatusBadRequest)
	trials := []*trial{
		p.queryTrial(class, unshown),
		p.fieldsTrial(class, "in a cookie", unshown,
			"Cookie: access_token="+good, "Cookie: token="+good, "Cookie: Authorization=Bearer "+good),
		{class: class, name: "in the body", judge: unshown, shots: []*shot{p.formShot(http.MethodGet)}},
		p.fieldsTrial(class, "in another header", refused, fieldsWith("Bearer "+good,
			"X-Authorization", "X-Forwarded-Authorization", "Proxy-Authorization", "Authentication", "X-Access-Token",
			"X-Auth-Token", "X-Forwarded-Access-Token", "X-Amzn-Oidc-Accesstoken", "Authorization_", "HTTP_AUTHORIZATION", "Authorization ")...),
		one(class, "in a trailer", refused, p.trailerShot(http.MethodGet, bearerField(good))),
		p.severalTrial(class, refused),
		one(class, "in the header and in the query", refused,
			p.shot(http.MethodGet, withQuery(p.Target.url.RequestURI(), "access_token="+good), p.good())),
	}
	return append(trials, p.onBackend(
		one(class, "in the body of a POST", unshown, p.formShot(http.MethodPost)),
	)...)
}

func (p *probe) queryTrial(class string, judge func(*result) Finding) *trial {
	t := &trial{class: class, name: "in the query", judge: judge}
	for _, name := range []string{"access_token", "ACCESS_TOKEN", "access%5Ftoken", "token", "authorization"} {
		target := withQuery(p.Target.url.RequestURI(), name+"="+p.given.Tokens.Good)
		t.shots = append(t.shots, p.shot(http.MethodGet, target).named(name))
	}
	return t
}

// fieldsTrial sends one request for each header field.
func (p *probe) fieldsTrial(class, name string, judge func(*result) Finding, fields ...string) *trial {
	t := &trial{class: class, name: name, judge: judge}
	for _, field := range fields {
		what, _, _ := strings.Cut(field, ":")
		t.shots = append(t.shots, p.get(field).named(what))
	}
	return t
}

// fieldsWith gives every name the same value.
func fieldsWith(value string, names ...string) (fields []string) {
	for _, name := range names {
		fields = append(fields, name+": "+value)
	}
	return fields
}

func withQuery(target, parameter string) string {
	if strings.Contains(target, "?") {
		return target + "&" + parameter
	}
	return target + "?" + parameter
}

func (p *probe) formShot(method string) *shot {
	body := "access_token=" + p.given.Tokens.Good
	return p.shot(method, p.Target.url.RequestURI(),
		"Content-Type: application/x-www-form-urlencoded", fmt.Sprintf("Content-Length: %d", len(body))).followedBy(body)
}

// trailerShot sends fields after its body (RFC 9112 §7.1.2).
func (p *probe) trailerShot(method, trailer string, lines ...string) *shot {
	name, _, _ := strings.Cut(trailer, ":")
	lines = append(lines, "Transfer-Encoding: chunked", "Trailer: "+name)
	return p.shot(method, p.Target.url.RequestURI(), lines...).followedBy("1\r\nx\r\n0\r\n" + trailer + "\r\n\r\n")
}

// severalTrial: two credentials in one request.
func (p *probe) severalTrial(class string, judge func(*result) Finding) *trial {
	good := p.given.Tokens.Good
	const basic, forged = "Basic cHJvYmU6cHJvYmU=", "Bearer e30.e30."
	return &trial{class: class, name: "two of them", judge: judge, shots: []*shot{
		p.get(p.good(), p.good()).named("the same twice"),
		p.get(p.good(), "Authorization: "+forged).named("good, then forged"),
		p.get("Authorization: "+forged, p.good()).named("forged, then good"),
		p.get(p.good(), "Authorization: "+basic).named("Bearer, then Basic"),
		p.get("Authorization: "+basic, p.good()).named("Basic, then Bearer"),
		p.get("Authorization: Bearer " + good + ", " + forged).named("with a comma between"),
		p.get("Authorization: " + basic + ", Bearer " + good).named("two schemes with a comma between"),
	}}
}

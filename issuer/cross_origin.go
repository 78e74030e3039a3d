package issuer

import (
	"net/http"
	"strings"
)

// Programs in browsers may call the endpoints that are marked crossOrigin, from
// any origin (Fetch standard, CORS). That gives nothing away: these endpoints read
// no cookie, so a stranger's page can send only what it knows already, and
// answers never allow credentials. The pages, /authorize first, are not marked.

// allowCrossOrigin sets the headers of an answer that any origin may read.
func allowCrossOrigin(header http.Header) {
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
}

// servePreflight tells a browser what it may send.
func servePreflight(w http.ResponseWriter, methods []string) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	// Some clients send headers of their own with every request, such as
	// MCP-Protocol-Version. No header of a request gives anything but Authorization,
	// which the star leaves out.
	header.Set("Access-Control-Allow-Headers", "*, Authorization")
	header.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}

// isPreflight tells whether a browser asks what it may send.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// startAPI is an API that answers in its own way. It returns its host and port.
func startAPI(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	api := httptest.NewServer(handler)
	t.Cleanup(api.Close)
	return strings.TrimPrefix(api.URL, "http://")
}

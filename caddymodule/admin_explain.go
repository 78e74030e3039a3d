package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// explainRequest says what a gate would decide about a request:
//
//	POST /oauth/explain {"token": "...", "url": "...", "method": "GET", "header": {"Origin": ["..."]}}
func explainRequest(r *adminRequest) (any, error) {
	wanted := struct {
		Token  string      `json:"token"`
		URL    string      `json:"url"`
		Method string      `json:"method"`
		Header http.Header `json:"header"`
	}{Method: http.MethodGet}
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	x := &explanation{Method: wanted.Method, URL: wanted.URL, Questions: []question{}}
	if err := explain(r.caddy, x, wanted.Token, wanted.Header); err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	if !x.Reached && x.Answered == 0 {
		return nil, errors.New("no answer")
	}
	return x, nil
}

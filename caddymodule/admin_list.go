package caddymodule

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
)

// Bounds of ?limit=, the number of entries in a part of a list.
const (
	defaultListLimit = 100
	maxListLimit     = 1000
)

// lists are the operations that answer with a part of a list.
var lists = []string{"clients", "users", "users/*/authorizations", "applications", "authorizations", "registration-tokens"}

// checkQuery refuses parameters that the operation does not have: a misspelt one
// would otherwise be an operation on something else than was meant.
func checkQuery(r *http.Request, pattern string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badQuery("the query is malformed")
	}
	known := []string{"issuer"}
	if r.Method == http.MethodGet && slices.Contains(lists, pattern) {
		known = append(known, "limit", "after")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(known, name):
			return badQuery("there is no query parameter %.50q here; there is: %s", name, strings.Join(known, ", "))
		case len(values) > 1:
			return badQuery("the query parameter %s stands there twice", name)
		}
	}
	return nil
}

func badQuery(format string, args ...any) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// listPart reads which part of the list of that name is wanted.
func listPart(query url.Values, name string) (record.Part, error) {
	part := record.Part{Limit: defaultListLimit}
	if query.Has("limit") {
		limit, err := strconv.Atoi(query.Get("limit"))
		if err != nil || limit < 1 || limit > maxListLimit {
			return part, badQuery("limit: want 1 to %d", maxListLimit)
		}
		part.Limit = limit
	}
	if !query.Has("after") {
		return part, nil
	}
	var err error
	part.After, err = readCursor(query.Get("after"), name)
	return part, err
}

// cursor is what ?after= wants: where the next part of the list of that name
// begins. Its form is no part of the contract.
func cursor(name, after string) string {
	if after == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(name + " " + after))
}

func readCursor(text, name string) (after string, err error) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	after, ok := strings.CutPrefix(string(decoded), name+" ")
	if err != nil || !ok || after == "" {
		return "", badQuery("after: want the next of the answer before, from the same list")
	}
	return after, nil
}

// answerList answers with a part of a list, under its name, and with next where
// something is left.
func answerList[T, A any](r *adminRequest, name string, list func(context.Context, record.Part) ([]T, string, error), describe func(T) A) (any, error) {
	part, err := listPart(r.URL.Query(), name)
	if err != nil {
		return nil, err
	}
	found, next, err := list(r.Context(), part)
	if err != nil {
		return nil, err
	}
	described := make([]A, 0, len(found))
	for _, one := range found {
		described = append(described, describe(one))
	}
	answer := map[string]any{name: described}
	if next := cursor(name, next); next != "" {
		answer["next"] = next
	}
	return answer, nil
}

// itself describes what needs no description.
func itself[T any](one T) T { return one }

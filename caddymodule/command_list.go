package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// list reads a list of the admin API to its end, part by part, and returns all of
// it as one JSON array. name is that of the list in the answers.
func (c *command) list(path, name string) (json.RawMessage, error) {
	all := []json.RawMessage{}
	for after := ""; ; {
		query := url.Values{"limit": {strconv.Itoa(maxListLimit)}}
		if after != "" {
			query.Set("after", after)
		}
		answer, err := c.call(http.MethodGet, path+"?"+query.Encode(), nil)
		if err != nil {
			return nil, err
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(answer, &members); err != nil {
			return nil, fmt.Errorf("the list of %s: %w", name, err)
		}
		var part []json.RawMessage
		if err := json.Unmarshal(members[name], &part); err != nil {
			return nil, fmt.Errorf("the list of %s: %w", name, err)
		}
		all = append(all, part...)
		if members["next"] == nil {
			return json.Marshal(all)
		}
		if err := json.Unmarshal(members["next"], &after); err != nil {
			return nil, fmt.Errorf("the list of %s: %w", name, err)
		}
	}
}

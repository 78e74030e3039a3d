// Command caddy is Caddy with the OAuth gate built in.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-oauth-gate/caddy-oauth-gate/caddymodule"
)

func main() { caddycmd.Main() }

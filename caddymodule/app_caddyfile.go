package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() { httpcaddyfile.RegisterGlobalOption("oauth", parseApp) }

// parseApp reads the global option oauth:
//
//	oauth {
//		storage <module> { ... }
//		key_encryption_key <placeholder>...
//		admin_api on|off
//		issuer <url> { ... }
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the oauth option stands twice; put all of it into one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "oauth", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the block; see parseApp for its grammar.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // option name
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, a.unmarshalOption)
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "storage":
		raw, err := parseStorage(d, a.StorageRaw)
		if err != nil {
			return err
		}
		a.StorageRaw = raw
	case "key_encryption_key":
		return a.unmarshalKeyEncryptionKeys(d)
	case "admin_api":
		return onOrOff(d, &a.AdminAPI)
	case "issuer":
		issuer := new(IssuerConfig)
		if err := issuer.unmarshalCaddyfile(d); err != nil {
			return err
		}
		a.Issuers = append(a.Issuers, issuer)
	default:
		return unknownOption(d, "oauth", "admin_api issuer key_encryption_key storage")
	}
	return nil
}

func parseStorage(d *caddyfile.Dispenser, existing json.RawMessage) (json.RawMessage, error) {
	if existing != nil {
		return nil, d.Err("storage stands twice")
	}
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "oauth.storage."+name)
	if err != nil {
		return nil, err
	}
	storage, ok := module.(Storage)
	if !ok {
		return nil, d.Errf("oauth.storage.%s is not a storage", name)
	}
	return caddyconfig.JSONModuleObject(storage, "module", name, nil), nil
}

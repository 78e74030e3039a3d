package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/keys"
)

// keyEncryption makes the encryption of what KeyEncryptionKeys name; nil where
// they name nothing. No error quotes what a placeholder stands for.
func (a *App) keyEncryption() (keys.Encryption, error) {
	parsed := make([]keys.KeyEncryptionKey, 0, len(a.KeyEncryptionKeys))
	for _, placeholder := range a.KeyEncryptionKeys {
		key, err := keyEncryptionKey(placeholder)
		if err != nil {
			return nil, fmt.Errorf("key_encryption_key: %w", err)
		}
		parsed = append(parsed, key)
	}
	if len(parsed) == 0 {
		return nil, nil
	}
	encryption, err := keys.NewAESGCM(parsed[0], parsed[1:]...)
	if err != nil {
		return nil, fmt.Errorf("key_encryption_key: %w", err)
	}
	return encryption, nil
}

// keyEncryptionKey resolves one placeholder. A key that stands in the
// configuration itself is refused: Caddy keeps copies of that, and shows it to
// whoever reaches its admin endpoint.
func keyEncryptionKey(placeholder string) (keys.KeyEncryptionKey, error) {
	if !strings.HasPrefix(placeholder, "{") || !strings.HasSuffix(placeholder, "}") || strings.Count(placeholder, "{") != 1 {
		return keys.KeyEncryptionKey{}, errors.New("want a placeholder such as {file./run/secrets/kek} or {env.KEK}, so that the key itself does not stand in the configuration")
	}
	text, err := caddy.NewReplacer().ReplaceOrErr(placeholder, true, true)
	if err != nil {
		return keys.KeyEncryptionKey{}, fmt.Errorf("%s is empty or cannot be read", placeholder)
	}
	key, err := keys.ParseKeyEncryptionKey(text)
	if err != nil {
		return keys.KeyEncryptionKey{}, fmt.Errorf("%s: %w", placeholder, err)
	}
	return key, nil
}

// encryptStored makes what is in the storage fit the configuration. An operator
// who has begun to encrypt must know what that does not undo.
func (a *App) encryptStored(ctx context.Context, state *issuer.State) error {
	rewritten, err := state.UseEncryption(ctx, a.encryption)
	if err != nil {
		return err
	}
	if rewritten > 0 {
		a.logger.Warn("the keys in the storage were encrypted with the first key_encryption_key; backups, and free space in the storage, may still have them as they were: see docs/keys.md", "records", rewritten)
	}
	return nil
}

// unmarshalKeyEncryptionKeys reads
//
//	key_encryption_key <placeholder>...
//
// The first encrypts, all decrypt. The option may stand several times.
func (a *App) unmarshalKeyEncryptionKeys(d *caddyfile.Dispenser) error {
	var placeholders []string
	if err := someArguments(d, &placeholders); err != nil {
		return err
	}
	for _, placeholder := range placeholders {
		if slices.Contains(a.KeyEncryptionKeys, placeholder) {
			return d.Err("key_encryption_key names the same key twice")
		}
		a.KeyEncryptionKeys = append(a.KeyEncryptionKeys, placeholder)
	}
	return nil
}

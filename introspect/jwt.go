package introspect

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxTokenLength is the length in bytes above which a token is refused unread.
const MaxTokenLength = 8 << 10

// JWTConfig says which access tokens a JWT accepts. Issuer and Keys are needed;
// the zero value of everything else is the strict profile of RFC 9068.
type JWTConfig struct {
	// Issuer is what iss must be, byte for byte (RFC 9068 §4).
	Issuer string

	// Keys are the keys of this issuer and of no other: a key is looked up by
	// kid alone.
	Keys KeySet

	// Leeway is by how much the clocks of issuer and resource may differ when
	// exp and nbf are judged. It is zero by default and at most five minutes.
	// For iat the tolerance is never under one minute.
	Leeway time.Duration

	// MaxLifetime bounds exp - iat; zero means no bound.
	MaxLifetime time.Duration

	// Algorithms are the accepted values of alg. By default: every asymmetric
	// algorithm that Key.Algorithm lists.
	Algorithms []string

	// Types are the accepted values of typ, as media types without regard to
	// case, with or without "application/" (RFC 7515 §4.1.9). By default:
	// at+jwt. An issuer that calls its access tokens plain JWT calls its ID
	// tokens so as well, and only the audience then tells them apart. The empty
	// string among them means that typ may be missing.
	Types []string

	// Optional names claims that may be missing, though RFC 9068 §2.2 requires
	// them, for issuers that follow another profile: client_id, jti, iat. One
	// that is present is checked all the same.
	//
	// When client_id may be missing and is, Token.ClientID is azp (OpenID Connect
	// Core §2, which Keycloak, Auth0 and Microsoft Entra use in access tokens
	// too) or else appid (Microsoft Entra, tokens of version 1.0) or cid (Okta), if
	// there is one.
	Optional []string

	// ScopeClaims are the claims that Token.Scope is read from, in this order,
	// for issuers that put scopes, or roles that routes are to take for scopes,
	// elsewhere than in scope. Each may be a string of names with spaces between
	// or an array of names, and may be missing. By default: scope, as a string.
	ScopeClaims []string
}

// JWT verifies the access tokens that one issuer signs (RFC 9068). It is an
// Introspector, keeps no state, and is safe for concurrent use.
//
// The audience is not judged: whom a token must be meant for depends on the
// route. Callers compare Token.Audience with their own name.
type JWT struct {
	config JWTConfig
}

// NewJWT returns an Introspector for the access tokens of config.Issuer.
func NewJWT(config JWTConfig) (*JWT, error) {
	if config.Issuer == "" || config.Keys == nil {
		return nil, errors.New("jwt: an issuer and its keys are needed")
	}
	if config.Leeway < 0 || config.Leeway > 5*time.Minute {
		return nil, errors.New("jwt: the leeway is not between 0 and 5 minutes")
	}
	if config.MaxLifetime < 0 {
		return nil, errors.New("jwt: the maximum lifetime is negative")
	}
	for _, name := range config.Algorithms {
		if algorithmNamed(name) == nil {
			return nil, fmt.Errorf("jwt: %q is not an algorithm for public keys", name)
		}
	}
	for _, name := range config.Optional {
		if name != "client_id" && name != "jti" && name != "iat" {
			return nil, fmt.Errorf("jwt: the claim %q cannot be optional", name)
		}
	}
	config.Algorithms = slices.Clone(config.Algorithms)
	config.Optional = slices.Clone(config.Optional)
	config.ScopeClaims = slices.Clone(config.ScopeClaims)
	types := config.Types
	if len(types) == 0 {
		types = []string{"at+jwt"}
	}
	config.Types = nil
	for _, name := range types {
		config.Types = append(config.Types, mediaType(name))
	}
	return &JWT{config}, nil
}

// Introspect implements Introspector. It returns an *InactiveError for whatever
// is not an active token of the issuer, and ErrUnavailable when the keys cannot
// be had.
func (j *JWT) Introspect(ctx context.Context, token string) (*Token, error) {
	payload, err := j.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	return j.parseClaims(payload)
}

// VerifyJWS returns the payload of a JWT of another type than an access token,
// such as an ID token that comes back as a hint. The form of the token, its typ,
// its key and its signature are judged as strictly as those of access tokens,
// and the payload is an object without repeated members; no claim is judged, not
// even exp. The errors are those of Introspect.
func VerifyJWS(ctx context.Context, token, typ string, keys KeySet) (payload []byte, err error) {
	j := &JWT{JWTConfig{Keys: keys, Types: []string{mediaType(typ)}}}
	if payload, err = j.verify(ctx, token); err != nil {
		return nil, err
	}
	if _, err := parseObject(payload); err != nil {
		return nil, &InactiveError{Reason: "the payload of the token is not strict JSON", Cause: err}
	}
	return payload, nil
}

// IsJWT tells whether a token has the form of a signed JWT: three parts, of which
// the first is a JSON object. Whatever has not is opaque, also where it has two
// dots, as some issuers' tokens have. A token of that form may be no good JWT.
func IsJWT(token string) bool {
	header, rest, _ := strings.Cut(token, ".")
	if strings.Count(rest, ".") != 1 || len(token) > MaxTokenLength {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(header)
	return err == nil && bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
}

// UnverifiedIssuer returns the iss of a JWT that nobody has verified yet, to
// choose among trusted issuers the one by whose keys it is to be judged. It is
// good for nothing else. The error is an *InactiveError for whatever is not a
// signed JWT with an iss.
func UnverifiedIssuer(token string) (string, error) {
	parts, err := splitJWS(token)
	if err != nil {
		return "", err
	}
	members, err := parseObject(parts.payload)
	if err != nil {
		return "", &InactiveError{Reason: "the claims of the token are not strict JSON", Cause: err}
	}
	issuer, ok := members["iss"].str()
	if !ok || !isName(issuer, maxClaimLength) {
		return "", inactive("the iss of the token is missing or not valid")
	}
	return issuer, nil
}

// verify returns the payload of a token whose signature is good.
func (j *JWT) verify(ctx context.Context, token string) ([]byte, error) {
	parts, err := splitJWS(token)
	if err != nil {
		return nil, err
	}
	header, err := j.parseHeader(parts.header)
	if err != nil {
		return nil, err
	}
	key, err := j.config.Keys.Key(ctx, header.keyID)
	if errors.Is(err, ErrUnknownKey) {
		return nil, inactive("the token is signed with a key that the issuer does not have")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// The key decides how a signature is checked; the header may only agree
	// (RFC 8725 §3.1).
	if key.Algorithm != header.algorithm {
		return nil, inactive("the alg of the token is not that of its key")
	}
	if err := verifySignature(key, []byte(parts.signed), parts.signature); err != nil {
		return nil, inactive("the signature of the token does not verify")
	}
	return parts.payload, nil
}

// jwsParts are the parts of a JWS in compact serialization (RFC 7515 §7.1).
type jwsParts struct {
	signed                     string // what the signature covers, as it was sent
	header, payload, signature []byte
}

// splitJWS takes a token apart. The scan for what cannot be one comes first and
// costs no memory.
func splitJWS(token string) (jwsParts, error) {
	if len(token) > MaxTokenLength {
		return jwsParts{}, inactive("the token is too long")
	}
	dots := 0
	for i := 0; i < len(token); i++ {
		if token[i] == '.' {
			dots++
		} else if !isBase64URL(token[i]) {
			return jwsParts{}, inactive("the token has a character that is not base64url")
		}
	}
	if dots != 2 {
		return jwsParts{}, inactive("the token is not a signed JWT of three parts")
	}
	end := strings.LastIndexByte(token, '.')
	headerText, payloadText, _ := strings.Cut(token[:end], ".")

	parts := jwsParts{signed: token[:end]}
	var ok [3]bool
	parts.header, ok[0] = decodeBase64URL(headerText)
	parts.payload, ok[1] = decodeBase64URL(payloadText)
	parts.signature, ok[2] = decodeBase64URL(token[end+1:])
	if ok != [3]bool{true, true, true} {
		return jwsParts{}, inactive("the token is not in canonical base64url")
	}
	return parts, nil
}

// joseHeader is what this package takes from a JOSE header. A key that comes
// with the token (jwk, jku, x5c, x5u) is never looked at.
type joseHeader struct {
	algorithm, keyID string
}

func (j *JWT) parseHeader(data []byte) (joseHeader, error) {
	members, err := parseObject(data)
	if err != nil {
		return joseHeader{}, &InactiveError{Reason: "the header of the token is not strict JSON", Cause: err}
	}
	// No extension is understood here, so each that must be understood is a
	// refusal (RFC 7515 §4.1.11), and an unknown shape of payload too.
	if _, present := members["crit"]; present {
		return joseHeader{}, inactive("the header of the token has crit")
	}
	for _, name := range []string{"b64", "cty", "enc", "zip"} {
		if _, present := members[name]; present {
			return joseHeader{}, inactive("the payload of the token is not a plain claims set")
		}
	}
	if !j.acceptsType(members) {
		return joseHeader{}, inactive("the typ of the token is not the one that is expected here")
	}
	var header joseHeader
	var ok bool
	if header.algorithm, ok = members["alg"].str(); !ok || !j.accepts(header.algorithm) {
		return joseHeader{}, inactive("the alg of the token is not accepted")
	}
	if header.keyID, ok = members["kid"].str(); !ok || header.keyID == "" || len(header.keyID) > maxKidLength {
		return joseHeader{}, inactive("the token does not name its key by a kid")
	}
	return header, nil
}

// acceptsType judges typ. The empty string stands for a missing one among the
// accepted types; as a value it is no type.
func (j *JWT) acceptsType(header jsonObject) bool {
	value, present := header["typ"]
	if !present {
		return slices.Contains(j.config.Types, "")
	}
	typ, ok := value.str()
	return ok && mediaType(typ) != "" && slices.Contains(j.config.Types, mediaType(typ))
}

func (j *JWT) accepts(algorithm string) bool {
	if len(j.config.Algorithms) > 0 {
		return slices.Contains(j.config.Algorithms, algorithm)
	}
	return algorithmNamed(algorithm) != nil
}

// mediaType brings a typ into the one form in which two are compared. Only ASCII
// letters have a case here.
func mediaType(typ string) string {
	lower := []byte(typ)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return strings.TrimPrefix(string(lower), "application/")
}

func inactive(reason string) error { return &InactiveError{Reason: reason} }

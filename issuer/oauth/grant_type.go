package oauth

import (
	"maps"
	"slices"
)

// The grant types, as clients are registered for them (RFC 7591 §2) and as the
// token endpoint is asked for them.
const (
	GrantAuthorizationCode = "authorization_code"                              // RFC 6749 §4.1
	GrantClientCredentials = "client_credentials"                              // RFC 6749 §4.4
	GrantRefreshToken      = "refresh_token"                                   // RFC 6749 §6
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628 §3.4
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
)

// grantTypes tells of each grant type whether it is for confidential clients
// only: their own secret is all the proof there is.
var grantTypes = map[string]bool{
	GrantAuthorizationCode: false,
	GrantClientCredentials: true,
	GrantRefreshToken:      false,
	GrantDeviceCode:        false,
	GrantTokenExchange:     true,
}

// GrantTypes lists the grant types that clients can be registered for.
func GrantTypes() []string { return slices.Sorted(maps.Keys(grantTypes)) }

// IsGrantType tells whether there is such a grant type here.
func IsGrantType(name string) bool {
	_, ok := grantTypes[name]
	return ok
}

// ConfidentialOnly tells whether a grant type rests on the client's secret alone.
func ConfidentialOnly(grantType string) bool { return grantTypes[grantType] }

// FullGrantType is the name of a grant type that may be written short: the names
// that are URNs have one that people can remember.
func FullGrantType(name string) string {
	switch name {
	case "device_code":
		return GrantDeviceCode
	case "token_exchange":
		return GrantTokenExchange
	}
	return name
}

package caddymodule

import (
	"strings"
	"testing"
)

// Mistakes in a trusted_issuer block are found when the file is read.
func TestTrustedIssuerCaddyfileMistakes(t *testing.T) {
	for block, want := range map[string]string{
		"trusted_issuer": "argument",
		"trusted_issuer https://a.test https://b.test":                             "argument",
		"trusted_issuer https://a.test {\naudiences x\n}":                          "unknown option of trusted_issuer: audiences",
		"trusted_issuer https://a.test {\naudience\n}":                             "argument",
		"trusted_issuer https://a.test {\nuserinfo on\n}":                          "argument",
		"trusted_issuer https://a.test {\njwks_uri a b\n}":                         "argument",
		"trusted_issuer https://a.test {\nintrospection a\n}":                      "argument",
		"trusted_issuer https://a.test {\nintrospection a b c d\n}":                "argument",
		"trusted_issuer https://a.test {\nintrospection a b\nintrospection a b\n}": "introspection stands twice",
		"trusted_issuer https://a.test {\nsubject_prefix a\nsubject_prefix b\n}":   "subject_prefix stands twice",
		"trusted_issuer https://a.test {\nsubject_claim a\nsubject_claim b\n}":     "subject_claim stands twice",
	} {
		_, err := adapt("{\noauth {\nissuer https://auth.test {\n" + block + "\n}\n}\n}\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", block, err, want)
		}
	}
}

// Id and secret come from the environment; what is missing there is a mistake,
// and the error does not show what is not.
func TestTrustedIssuerSecrets(t *testing.T) {
	t.Setenv("IDP_ID", "rs-1")
	t.Setenv("IDP_SECRET", "a secret")
	t.Setenv("IDP_EMPTY", "")
	convert := func(id, secret string) (string, string, error) {
		c := TrustedIssuerConfig{Issuer: "https://idp.test", Introspection: &IntrospectionConfig{ClientID: id, ClientSecret: secret}}
		trusted, err := c.trustedIssuer()
		return trusted.ClientID, trusted.ClientSecret, err
	}
	if id, secret, err := convert("{env.IDP_ID}", "{env.IDP_SECRET}"); err != nil || id != "rs-1" || secret != "a secret" {
		t.Errorf("%q, %q, %v", id, secret, err)
	}
	for _, missing := range []string{"", "{env.IDP_EMPTY}", "{env.IDP_NOT_THERE}", "{http.request.header.X}"} {
		if _, _, err := convert("{env.IDP_ID}", missing); err == nil || strings.Contains(err.Error(), "a secret") {
			t.Errorf("secret %q: %v", missing, err)
		}
		if _, _, err := convert(missing, "{env.IDP_SECRET}"); err == nil || strings.Contains(err.Error(), "a secret") {
			t.Errorf("id %q: %v", missing, err)
		}
	}
}

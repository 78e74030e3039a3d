// Package browsertest holds the tests of the issuer's pages in a real browser: Debian's Chromium, driven over the DevTools
// protocol. A person signs in, agrees, refuses, changes a password and signs out as people do, with a mouse and a keyboard;
// a client application on another port shows what came back to it. There is nothing here but tests.
//
// Each page that a test comes to is held against the rules of axe-core, and a test fails when the browser reports anything on
// its console: a violation of the Content-Security-Policy, a mistake in a script, an unknown style.
//
//	browser_test.go        the one browser process, a tab for each test, what a person does in it
//	axe_test.go            accessibility of every page (testdata/axe)
//	issuer_test.go         an issuer and a client application on loopback sockets
//
//	login_test.go          OpenID Connect Core §3.1.2.3
//	consent_test.go        OpenID Connect Core §3.1.2.4, RFC 6749 §4.1.2.1
//	language_test.go       Accept-Language, ui_locales, the switch
//	form_post_test.go      OAuth 2.0 Form Post Response Mode
//	account_test.go        sessions, connected applications, password
//	logout_test.go         OpenID Connect RP-Initiated Logout
//	attack_test.go         forms of other sites, frames (RFC 9700 §4.16)
//	upstream_test.go       sign-in at another instance of this issuer
//	oidc_provider_test.go  sign-in at node-oidc-provider (oidcprovider)
//	exchange_test.go       tokens of node-oidc-provider, exchanged (RFC 8693); no browser
//	screens_test.go        every page on a phone and on a desktop, light and dark, in each language
//
// Software by other people that runs on Node is in packages of its own, which tests of caddymodule use as well:
//
//	node                   runs programs, with the modules that package-lock.json pins
//	oidcprovider           node-oidc-provider
//	oidcclients            client libraries
//
// It needs the command chromium and, for node-oidc-provider, npm. To look at the pages:
//
//	go test ./issuer/browsertest -run TestScreens -screens /tmp/screens
package browsertest

package caddymodule

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// disable takes every right from a person without removing them.
func (a *attempt) disable(v *visitor) {
	a.Helper()
	a.rewrite("user", " "+v.subject(), time.Time{}, func(record map[string]any) { record["disabled"] = true })
}

var unlike = regexp.MustCompile(`name="(?:csrf_token|transaction)" value="[^"]*"|transaction=[^"&]*`)

// likeness is all of an answer by which one could tell it from another, but for
// what is new in each and for the name that was typed.
func likeness(e exchange, name string) string {
	var headers []string
	for _, header := range slices.Sorted(maps.Keys(e.Header)) {
		if header != "Date" {
			headers = append(headers, fmt.Sprint(header, ": ", len(strings.Join(e.Header[header], ""))))
		}
	}
	body := strings.ReplaceAll(unlike.ReplaceAllString(e.body, ""), name, "NAME")
	return fmt.Sprintln(e.StatusCode, headers, body)
}

// bruteForce guesses the password of one person, from one address and from many.
// After a handful each guess waits, for minutes at most; whoever signed in from an
// address of their own before can do so there all the time.
func bruteForce(a *attempt) {
	owner := a.newPerson().signedIn()
	guess := func(v *visitor, n int) (looked bool) {
		e := v.wrongPassword(fmt.Sprintf("guess %d", n))
		a.judge(e)
		if e.StatusCode == 429 {
			if wait := e.Header.Get("Retry-After"); wait == "" || len(wait) > 3 || len(wait) == 3 && wait > "900" {
				a.Errorf("Retry-After %q, want 900 seconds at most", wait)
			}
		}
		return e.StatusCode == 401
	}
	looked := 0
	from := a.visitor(owner.name)
	for n := range 50 {
		if guess(from, n) {
			looked++
		}
	}
	if looked > 10 {
		a.Errorf("%d of 50 guesses from one address were looked at", looked)
	}
	// The right one, from there, waits as well: it would tell that it is right.
	e := from.wrongPassword(passwordOf(owner.name))
	a.judge(e)
	if e.StatusCode != 429 || from.hasSession() {
		a.Errorf("the right password after 50 wrong ones: status %d", e.StatusCode)
	}
	looked = 0
	for n := range 120 {
		if guess(a.visitor(owner.name), n) {
			looked++
		}
	}
	if looked > 60 {
		a.Errorf("%d of 120 guesses from as many addresses were looked at", looked)
	}
	owner.open("/end-session")
	owner.press("logout")
	owner.open("/login")
	owner.signIn()
	if !owner.hasSession() {
		a.Errorf("the owner is locked out at home: %d", owner.shown.StatusCode)
	}
}

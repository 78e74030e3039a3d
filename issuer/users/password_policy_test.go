package users

import (
	"errors"
	"strings"
	"testing"
)

// NIST SP 800-63B §5.1.1.2.
func TestWhichPasswordsAreAccepted(t *testing.T) {
	for _, c := range []struct {
		why, password string
		want          error
	}{
		{"eight characters", "kdhwtzqv", nil},
		{"no rules of composition", "plainwordsonly", nil},
		{"spaces", "four words and spaces", nil},
		{"characters, not bytes, are counted", "пароль", ErrPasswordShort},
		{"eight characters beyond ASCII", "жвхцщшчю", nil},
		{"seven", "kdhwtzq", ErrPasswordShort},
		{"the longest", strings.Repeat("kdhwtzqv", MaxPassword/8), nil},
		{"one byte longer", strings.Repeat("kdhwtzqv", MaxPassword/8) + "k", ErrPasswordLong},
		{"known to everyone", "password123", ErrPasswordCommon},
		{"known, in another case", "PassWord123", ErrPasswordCommon},
		{"one character over and over", "zzzzzzzzzzzz", ErrPasswordCommon},
		{"the username", "Margarethe-R", ErrPasswordCommon},
		{"control characters", "kdhw\ttzqv", ErrPasswordCharacters},
		{"not UTF-8", "kdhwtzqv\xff", ErrPasswordCharacters},
	} {
		t.Run(c.why, func(t *testing.T) {
			u := newUsers(t)
			_, err := u.Add(t.Context(), User{Username: "margarethe-r"}, c.password)
			if !errors.Is(err, c.want) || (c.want != nil && !errors.Is(err, ErrWeakPassword)) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), c.password) {
				t.Errorf("the error has the password in it: %v", err)
			}
		})
	}
}

// Every entry refuses something that would be accepted otherwise.
func TestCommonPasswordsAreInTheFormTheyAreLookedUpIn(t *testing.T) {
	for password := range commonPasswords() {
		normal, err := normalize(password)
		if err != nil || normal != password || strings.ToLower(password) != password || len([]rune(password)) < MinPassword {
			t.Errorf("%q is never found", password)
		}
	}
	if len(commonPasswords()) < 500 {
		t.Errorf("%d common passwords", len(commonPasswords()))
	}
}

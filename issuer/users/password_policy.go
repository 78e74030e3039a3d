package users

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// MinPassword is the length of the shortest password that is accepted, in
// characters (code points, NIST SP 800-63B §5.1.1.2); MaxPassword that of the
// longest, in bytes.
const (
	MinPassword = 8
	MaxPassword = 1024
)

// Errors of choosing a password. Each of the others is an ErrWeakPassword, too.
var (
	ErrWeakPassword = errors.New("users: the password is not accepted")

	// ErrPasswordShort: fewer than MinPassword characters.
	ErrPasswordShort = fmt.Errorf("%w: too short", ErrWeakPassword)

	// ErrPasswordLong: more than MaxPassword bytes.
	ErrPasswordLong = fmt.Errorf("%w: too long", ErrWeakPassword)

	// ErrPasswordCommon: among the first that are guessed, or the username.
	ErrPasswordCommon = fmt.Errorf("%w: among the first that are guessed", ErrWeakPassword)

	// ErrPasswordCharacters: control characters, or not UTF-8.
	ErrPasswordCharacters = fmt.Errorf("%w: has characters that cannot be typed everywhere", ErrWeakPassword)
)

//go:embed common_passwords.txt
var commonPasswordsText string

// commonPasswords are those that everyone tries first, in lower case and long
// enough to be accepted otherwise.
var commonPasswords = sync.OnceValue(func() map[string]bool {
	common := make(map[string]bool)
	for password := range strings.FieldsSeq(commonPasswordsText) {
		common[password] = true
	}
	return common
})

// normalize returns the form in which passwords are hashed: that of the profile
// OpaqueString (RFC 8265 §4.2), so that a password is the same from every
// keyboard. The error is ErrPasswordShort (of none at all), ErrPasswordLong or
// ErrPasswordCharacters; the length is judged first, so that a huge password costs nothing.
func normalize(password string) (string, error) {
	switch {
	case password == "":
		return "", ErrPasswordShort
	case len(password) > MaxPassword:
		return "", ErrPasswordLong
	}
	if !utf8.ValidString(password) {
		return "", ErrPasswordCharacters
	}
	normal, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", ErrPasswordCharacters // the cause is about the password
	}
	return normal, nil
}

// accept holds a normalized password against NIST SP 800-63B §5.1.1.2: a least
// length and a list of known ones, no rules of composition. The username is as
// compared.
func accept(password, username string) error {
	lower := strings.ToLower(password)
	switch {
	case utf8.RuneCountInString(password) < MinPassword:
		return ErrPasswordShort
	case lower == username || commonPasswords()[lower] || isOneCharacter(password):
		return ErrPasswordCommon
	}
	return nil
}

func isOneCharacter(password string) bool {
	first, _ := utf8.DecodeRuneInString(password)
	return strings.Trim(password, string(first)) == ""
}

// hashNew returns the hash of a password that someone chose, in the form that
// User.Password has. The error is ErrWeakPassword, or that of hash.
func (u *Users) hashNew(ctx context.Context, password, username string) (string, error) {
	normal, err := normalize(password)
	if err != nil {
		return "", err
	}
	if err := accept(normal, username); err != nil {
		return "", err
	}
	hash, err := u.hasher.hash(ctx, normal)
	if err != nil {
		return "", err
	}
	return hash.String(), nil
}

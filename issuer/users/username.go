package users

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// ErrUsername: the name cannot be that of a local user.
var ErrUsername = errors.New("users: not a valid username")

// maxUsername is the longest username in bytes, typed or compared. It has to
// fit in a key of any storage.
const maxUsername = 128

// compared returns the form in which usernames are compared: that of the
// profile UsernameCaseMapped (RFC 8265 §3.3), so that case, width and the order
// of combining marks do not make two people out of one name. The error is
// ErrUsername.
//
// A colon is refused: HTTP Basic cannot carry it in a user-id (RFC 7617 §2), and
// it tells the names of external users, and subjects, from usernames.
func compared(username string) (string, error) {
	if username == "" || len(username) > maxUsername || !utf8.ValidString(username) || strings.ContainsRune(username, ':') {
		return "", ErrUsername
	}
	name, err := precis.UsernameCaseMapped.String(username)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUsername, err)
	}
	// A wide colon becomes a colon only now.
	if name == "" || len(name) > maxUsername || strings.ContainsRune(name, ':') {
		return "", ErrUsername
	}
	return name, nil
}

package issuer

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/limit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// Storage kinds of requests for applications.
const (
	kindApplication        = "application"         // issuer, reference
	kindApplicationPending = "application_pending" // issuer, reference: an index of those to answer, with where each came from
	kindApplicationSecret  = "application_secret"  // issuer, handle
)

const (
	// applicationLifetime is how long a request waits for an answer, and how long
	// an answered one is remembered.
	applicationLifetime = 90 * 24 * time.Hour
	// maxPendingApplications bounds what strangers can make the server keep.
	maxPendingApplications = 200

	// An address may send freeRequests at once, and one more every requestRefill.
	freeRequests  = 5
	requestRefill = 10 * time.Minute
)

// Bounds of what is typed, in characters; the form has the same.
const (
	maxApplicationName        = 100
	maxApplicationDescription = 2000
	maxApplicationContact     = 254 // RFC 5321 §4.5.3.1.3
	maxApplicationLines       = 4000
	maxApplicationScopes      = 1000
	maxApplicationReason      = 2000
)

// ApplicationStatus is where a request for an application stands.
type ApplicationStatus string

// The stations of a request. It leaves the first one once.
const (
	ApplicationPending  ApplicationStatus = "pending"
	ApplicationApproved ApplicationStatus = "approved"
	ApplicationRejected ApplicationStatus = "rejected"
)

// Application is a request for an application, which somebody made who need not
// be sure of more than what it is. All of its text was typed by a stranger;
// control and direction characters are taken out of it, and that is all.
type Application struct {
	// Reference names the request to people; it is no secret.
	Reference string `json:"reference"`

	Name        string `json:"name"`
	Description string `json:"description"`
	Contact     string `json:"contact"` // an e-mail address of that form

	// What the applicant wants; empty where they are not sure. Resources and
	// Scopes may be anything, other values are well-formed.
	ClientType   string   `json:"client_type,omitempty"`
	GrantTypes   []string `json:"grant_types,omitempty"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Resources    []string `json:"resources,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`

	Received time.Time         `json:"received"`
	Address  string            `json:"address,omitempty"` // that it was sent from
	Status   ApplicationStatus `json:"status"`

	Answered   time.Time `json:"answered,omitzero"`
	AnsweredBy string    `json:"answered_by,omitempty"` // sub of the operator; empty: at the admin API
	Reason     string    `json:"reason,omitempty"`      // of a rejection
	ClientID   string    `json:"client_id,omitempty"`   // of the client that an approval made, or see Registered

	// Registered: the client made itself (RFC 7591), and waits, disabled, for the
	// answer. It has its credentials and nobody's description or contact. An
	// approval enables it, a rejection removes it.
	Registered bool `json:"registered,omitempty"`

	// Expiry is when the request is forgotten.
	Expiry time.Time `json:"expires"`
}

// newReference makes a reference that can be read aloud: 50 random bits.
func newReference() string { return strings.ToLower(rand.Text()[:10]) }

// validReference tells whether text can be a reference.
func validReference(text string) bool {
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(text) == 10
}

func applicationKey(issuer, reference string) string { return issuer + " " + reference }

// addApplication stores a request under a new reference, unless as many as are
// allowed wait already: then it is errApplicationsFull.
func (i *Issuer) addApplication(ctx context.Context, a *Application) error {
	a.begin()
	return i.state.Storage.Update(ctx, func(tx storage.Tx) error { return i.putNewApplication(tx, a) })
}

// begin makes a request of what was asked for.
func (a *Application) begin() {
	a.Reference, a.Status = newReference(), ApplicationPending
	a.Received = record.Now()
	a.Expiry = a.Received.Add(applicationLifetime)
}

// putNewApplication puts a request into the queue, or returns
// errApplicationsFull.
func (i *Issuer) putNewApplication(tx storage.Tx, a *Application) error {
	pending, fromThere, from := 0, 0, limit.Site(a.Address)
	err := tx.List(kindApplicationPending, applicationKey(i.config.URL, ""), func(_ string, place []byte) error {
		if pending++; from != "" && string(place) == from {
			fromThere++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case pending >= maxPendingApplications, fromThere >= shareOf(maxPendingApplications):
		return errApplicationsFull
	}
	key := applicationKey(i.config.URL, a.Reference)
	return errors.Join(
		tx.Put(kindApplicationPending, key, []byte(from), a.Expiry),
		record.Put(tx, kindApplication, key, a, a.Expiry),
	)
}

// errApplicationsFull: there is no room in the queue, or none for more from there.
var errApplicationsFull = errors.New("too many requests for applications wait for an answer")

// answerApplication answers a pending request in a transaction that does
// whatever the answer means. Of several answers the first counts; to the others
// it is ErrApplicationAnswered.
func (i *Issuer) answerApplication(ctx context.Context, reference string, answer func(storage.Tx, *Application) error) (a *Application, err error) {
	if !validReference(reference) {
		return nil, storage.ErrNotFound
	}
	key := applicationKey(i.config.URL, reference)
	err = i.state.Storage.Update(ctx, func(tx storage.Tx) error {
		if a, err = record.Get[Application](tx, kindApplication, key); err != nil {
			return err
		}
		if a.Status != ApplicationPending {
			return ErrApplicationAnswered
		}
		if err := answer(tx, a); err != nil {
			return err
		}
		a.Answered = record.Now()
		a.Expiry = a.Answered.Add(applicationLifetime)
		if err := tx.Delete(kindApplicationPending, key); err != nil {
			return err
		}
		return record.Put(tx, kindApplication, key, a, a.Expiry)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// wish is what a pending request asks for, as metadata of a client.
func (a *Application) wish() clients.Metadata {
	return clients.Metadata{
		ID: a.ClientID, Name: a.Name, Type: a.ClientType, GrantTypes: a.GrantTypes, RedirectURIs: a.RedirectURIs,
		Scope: a.Scopes, Resources: a.Resources,
	}
}

// cleanLine makes one line of what was typed, without characters that act on a
// terminal or turn the direction of the text beside them.
func cleanLine(typed string) string {
	return strings.Join(strings.Fields(strings.Map(tame, typed)), " ")
}

// cleanText is cleanLine for several lines.
func cleanText(typed string) string {
	lines := strings.Split(strings.ReplaceAll(typed, "\r\n", "\n"), "\n")
	for n, line := range lines {
		lines[n] = strings.TrimRightFunc(strings.Map(tame, line), unicode.IsSpace)
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// cleanLines are the lines that are not empty, each once.
func cleanLines(typed string) (lines []string) {
	for _, line := range strings.Split(cleanText(typed), "\n") {
		if line = cleanLine(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// tame turns white space of any kind into a space and drops control characters
// and those that format text without being seen (Unicode Cf: direction, width).
func tame(c rune) rune {
	switch {
	case unicode.IsSpace(c):
		return ' '
	case unicode.IsControl(c), unicode.Is(unicode.Cf, c), c == unicode.ReplacementChar:
		return -1
	}
	return c
}

// page is the status as the pages have it.
func (s ApplicationStatus) page() pages.ApplicationStatus { return pages.ApplicationStatus(s) }

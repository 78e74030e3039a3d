package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/audit"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/record"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/signin"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// ErrApplicationAnswered is returned by an answer to a request for an application
// that has one already.
var ErrApplicationAnswered = errors.New("this request was approved or rejected already")

// Approval is what an approved request leads to. The client has no secret yet:
// it is made when the applicant opens SecretURL and asks for it, once. A client
// that registered itself has its credentials already.
type Approval struct {
	Application *Application
	Client      *clients.Client

	// SecretURL is to be handed to the applicant, and to nobody else; it is not
	// kept. It works until SecretExpiry. Both are zero if the client registered
	// itself.
	SecretURL    string
	SecretExpiry time.Time
}

// Applications returns the requests that are known: those that wait for an
// answer first, and of each kind the latest first.
func (i *Issuer) Applications(ctx context.Context) ([]*Application, error) {
	var all []*Application
	err := i.state.Storage.View(ctx, func(tx storage.Tx) error {
		all = all[:0]
		return tx.List(kindApplication, applicationKey(i.config.URL, ""), func(_ string, value []byte) error {
			a, err := record.Decode[Application](kindApplication, value)
			if err == nil {
				all = append(all, a)
			}
			return err
		})
	})
	slices.SortFunc(all, func(a, b *Application) int {
		if (a.Status == ApplicationPending) != (b.Status == ApplicationPending) {
			if a.Status == ApplicationPending {
				return -1
			}
			return 1
		}
		return b.Received.Compare(a.Received)
	})
	return all, err
}

// ListApplications returns a part of the requests that are known, by reference, and
// the After of the next one; it is empty where nothing is left.
func (i *Issuer) ListApplications(ctx context.Context, part record.Part) (found []*Application, next string, err error) {
	err = i.state.Storage.View(ctx, func(tx storage.Tx) (err error) {
		found = found[:0]
		next, err = record.List(tx, kindApplication, applicationKey(i.config.URL, ""), part, func(_ string, value []byte) error {
			a, err := record.Decode[Application](kindApplication, value)
			found = append(found, a)
			return err
		})
		return err
	})
	return found, next, err
}

// Application returns the request with that reference, or an error that is
// storage.ErrNotFound.
func (i *Issuer) Application(ctx context.Context, reference string) (*Application, error) {
	if !validReference(reference) {
		return nil, storage.ErrNotFound
	}
	var a *Application
	err := i.state.Storage.View(ctx, func(tx storage.Tx) (err error) {
		a, err = record.Get[Application](tx, kindApplication, applicationKey(i.config.URL, reference))
		return err
	})
	return a, err
}

// ApproveApplication makes the client that was asked for, or enables the one that
// registered itself, whose id and type stay. What adjust names replaces what was
// asked for; its empty members leave that as it is. The error is
// storage.ErrNotFound, ErrApplicationAnswered, ErrExists, what is wrong with
// the client, or the storage's.
func (i *Issuer) ApproveApplication(ctx context.Context, reference string, adjust clients.Metadata) (*Approval, error) {
	a, err := i.Application(ctx, reference)
	if err != nil {
		return nil, err
	}
	if a.Status != ApplicationPending {
		return nil, ErrApplicationAnswered
	}
	wish := a.wish()
	for _, member := range []struct{ given, wished *[]string }{
		{&adjust.GrantTypes, &wish.GrantTypes}, {&adjust.RedirectURIs, &wish.RedirectURIs},
		{(*[]string)(&adjust.Scope), (*[]string)(&wish.Scope)}, {&adjust.Resources, &wish.Resources},
	} {
		if len(*member.given) == 0 {
			*member.given = *member.wished
		}
	}
	if adjust.ID == "" {
		adjust.ID = wish.ID
	}
	if adjust.Name == "" {
		adjust.Name = wish.Name
	}
	if adjust.Type == "" {
		adjust.Type = wish.Type
	}
	approval, err := i.approveApplication(ctx, reference, adjust, nil)
	if err == nil {
		i.auditAnswer(ctx, approval.Application)
	}
	return approval, err
}

// RejectApplication refuses a request, with a reason for the applicant, and
// removes the client that it is about if that registered itself. The error is
// storage.ErrNotFound, ErrApplicationAnswered, or the storage's.
func (i *Issuer) RejectApplication(ctx context.Context, reference, reason string) (*Application, error) {
	a, err := i.rejectApplication(ctx, reference, reason, nil)
	if err == nil {
		i.auditAnswer(ctx, a)
	}
	return a, err
}

// auditAnswer writes the line about an answer that was given at the admin API.
func (i *Issuer) auditAnswer(ctx context.Context, a *Application) {
	event, attrs := answerEvent(a)
	i.trail.RecordOperation(ctx, event, attrs...)
}

// answerEvent says what was answered, and by whom.
func answerEvent(a *Application) (audit.Event, []slog.Attr) {
	event := audit.ApplicationRejected
	if a.Status == ApplicationApproved {
		event = audit.ApplicationApproved
	}
	return event, []slog.Attr{
		slog.String("reference", a.Reference), slog.String("subject", a.AnsweredBy), slog.String("client_id", a.ClientID),
	}
}

// approveApplication makes a client of exactly that metadata, and the link to its
// secret, or gives the metadata to the client that registered itself. by is the
// operator's session, nil at the admin API.
func (i *Issuer) approveApplication(ctx context.Context, reference string, metadata clients.Metadata, by *signin.Session) (*Approval, error) {
	switch {
	case metadata.Type == "":
		return nil, &clientError{fmt.Errorf("the applicant is not sure of the client type: decide on %q or %q", clients.Confidential, clients.Public)}
	case len(metadata.GrantTypes) == 0:
		return nil, &clientError{errors.New("the applicant is not sure of the grant types: decide on one or more")}
	}
	made, err := i.clients.New(metadata)
	if err != nil {
		return nil, &clientError{err}
	}
	var approved *clients.Client
	link := record.NewHandle()
	expiry := record.Now().Add(secretLinkLifetime)
	a, err := i.answerApplication(ctx, reference, func(tx storage.Tx, a *Application) (err error) {
		if err := i.checkOperator(tx, by); err != nil {
			return err
		}
		a.Status, a.AnsweredBy = ApplicationApproved, operatorOf(by)
		if a.Registered {
			approved, err = i.enableRegistered(tx, a, made.Metadata)
			return err
		}
		approved, a.ClientID = made, made.ID
		if err := i.clients.Insert(tx, made); err != nil {
			return err
		}
		return i.putSecretLink(tx, link, &secretLink{
			Reference: reference, ClientID: made.ID, ClientCreated: made.Created, Expiry: expiry,
		})
	})
	if err != nil {
		return nil, err
	}
	if a.Registered {
		return &Approval{Application: a, Client: approved}, nil
	}
	return &Approval{
		Application: a, Client: approved,
		SecretURL: i.config.URL + secretLinkPath + "?" + url.Values{secretLinkParameter: {link}}.Encode(), SecretExpiry: expiry,
	}, nil
}

// clientError says what is wrong with the client that an approval would make.
type clientError struct{ error }

func (e *clientError) Unwrap() error { return e.error }

func (i *Issuer) rejectApplication(ctx context.Context, reference, reason string, by *signin.Session) (*Application, error) {
	reason = cleanText(reason)
	if utf8.RuneCountInString(reason) > maxApplicationReason {
		return nil, fmt.Errorf("the reason is longer than %d characters", maxApplicationReason)
	}
	return i.answerApplication(ctx, reference, func(tx storage.Tx, a *Application) error {
		if err := i.checkOperator(tx, by); err != nil {
			return err
		}
		a.Status, a.AnsweredBy, a.Reason = ApplicationRejected, operatorOf(by), reason
		if a.Registered {
			return i.rejectRegistered(tx, a)
		}
		return nil
	})
}

// checkOperator: whoever decides is signed in and an operator when the decision
// is written, not only when the page was shown. by is nil at the admin API.
func (i *Issuer) checkOperator(tx storage.Tx, by *signin.Session) error {
	if by == nil {
		return nil
	}
	s, err := i.realm.people.LoadSession(tx, by.Key)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !s.User.Operator {
		return errNotOperator
	}
	return err
}

// operatorOf is who decides: empty at the admin API, without a session.
func operatorOf(s *signin.Session) string {
	if s == nil {
		return ""
	}
	return s.Subject
}

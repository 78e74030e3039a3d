package introspect

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"sync"
	"time"
)

// cacheRecord holds the facts of one token in little room. A Token and its
// strings would take three times as much.
type cacheRecord struct {
	key      cacheKey
	issuedAt int64 // in microseconds of Unix time; noTime for none
	expiry   int64
	shared   *shared
	text     string // sub, jti and authorization_id; then claims that the token does not show
	token    *Token // the facts ready to return, or nil
	used     bool   // shown since the last search for a record to give up

	subject, id, authorization uint16 // lengths within text
}

// noTime stands for the zero time.Time.
const noTime = math.MinInt64

// ownText returns what facts do not share with the facts of other tokens, and
// whether it is little enough to be remembered.
func ownText(token string, facts *Token) (text string, fits bool) {
	claims := string(facts.Claims)
	if shown, ok := shownClaims(token); ok && string(shown) == claims {
		claims = ""
	}
	if len(facts.Subject)+len(facts.ID)+len(facts.AuthorizationID)+len(claims) > maxCachedText {
		return "", false
	}
	if sharedSize(facts) > maxCachedText {
		return "", false
	}
	return facts.Subject + facts.ID + facts.AuthorizationID + claims, true
}

// shownClaims returns the claims that a JWT carries in its text.
func shownClaims(token string) (json.RawMessage, bool) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, false
	}
	return decodeBase64URL(payload)
}

func newCacheRecord(key *cacheKey, facts *Token, text string, common *shared) cacheRecord {
	return cacheRecord{
		key:           *key,
		issuedAt:      toMicro(facts.IssuedAt),
		expiry:        toMicro(facts.Expiry),
		shared:        common,
		text:          text,
		subject:       uint16(len(facts.Subject)),
		id:            uint16(len(facts.ID)),
		authorization: uint16(len(facts.AuthorizationID)),
	}
}

// facts fills token with what the record holds.
func (r *cacheRecord) facts(token *Token) {
	id := int(r.subject)
	authorization := id + int(r.id)
	claims := authorization + int(r.authorization)
	*token = Token{
		Issuer:          r.shared.issuer,
		Subject:         r.text[:id],
		ClientID:        r.shared.clientID,
		Audience:        r.shared.audience,
		Scope:           r.shared.scope,
		ID:              r.text[id:authorization],
		AuthorizationID: r.text[authorization:claims],
		IssuedAt:        fromMicro(r.issuedAt),
		Expiry:          fromMicro(r.expiry),
		Actor:           r.shared.actor,
	}
	if claims < len(r.text) {
		token.Claims = json.RawMessage(r.text[claims:])
	}
}

// restore makes the Token anew. The claims are read from the token that the
// caller shows: its digest is that of the one that was verified.
func (r *cacheRecord) restore(token string) *Token {
	facts := new(Token)
	r.facts(facts)
	if facts.Claims == nil {
		facts.Claims, _ = shownClaims(token)
	}
	return facts
}

func toMicro(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.UnixMicro()
}

func fromMicro(micro int64) time.Time {
	if micro == noTime {
		return time.Time{}
	}
	return time.UnixMicro(micro)
}

// shared holds the facts that the tokens of one client usually have in common.
type shared struct {
	issuer, clientID string
	audience, scope  []string
	actor            *Actor

	name  string // in sharedFacts
	users int
}

// sharedFacts keeps one copy of equal facts, as long as a record uses it.
type sharedFacts struct {
	mu   sync.Mutex
	sets map[string]*shared
}

// share returns the common facts of a token, to be given back by release.
func (f *sharedFacts) share(facts *Token) *shared {
	name := sharedName(facts)
	f.mu.Lock()
	defer f.mu.Unlock()
	common := f.sets[string(name)]
	if common == nil {
		common = &shared{
			issuer:   facts.Issuer,
			clientID: facts.ClientID,
			audience: facts.Audience,
			scope:    facts.Scope,
			actor:    facts.Actor,
			name:     string(name),
		}
		if f.sets == nil {
			f.sets = make(map[string]*shared)
		}
		f.sets[common.name] = common
	}
	common.users++
	return common
}

func (f *sharedFacts) release(common *shared) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if common.users--; common.users == 0 {
		delete(f.sets, common.name)
	}
}

// sharedName writes the common facts so that different facts never give the same
// name: every string is preceded by its length, every list by its own.
func sharedName(facts *Token) []byte {
	name := make([]byte, 0, 256)
	add := func(texts ...string) {
		name = binary.AppendUvarint(name, uint64(len(texts)))
		for _, text := range texts {
			name = binary.AppendUvarint(name, uint64(len(text)))
			name = append(name, text...)
		}
	}
	add(facts.Issuer, facts.ClientID)
	add(facts.Audience...)
	add(facts.Scope...)
	for actor := facts.Actor; actor != nil; actor = actor.Actor {
		add(actor.Issuer, actor.Subject, actor.ClientID)
	}
	return name
}

func sharedSize(facts *Token) int { return len(sharedName(facts)) }

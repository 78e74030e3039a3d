package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/clients"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/device"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/pages"
	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/storage"
)

// undoneStorage runs writes and keeps none, so that every request meets the same
// records.
type undoneStorage struct{ storage.Storage }

var errUndone = errors.New("undone")

func (s *undoneStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	err := s.Storage.Update(ctx, func(tx storage.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errUndone
	})
	if errors.Is(err, errUndone) {
		return nil
	}
	return err
}

// replacedStorage shows other values for all records of a kind, as a damaged file
// would whose checksums hold.
type replacedStorage struct {
	storage.Storage
	kind  string
	value []byte
}

func (s *replacedStorage) View(ctx context.Context, fn func(storage.Tx) error) error {
	return s.Storage.View(ctx, func(tx storage.Tx) error { return fn(replacedTx{tx, s}) })
}

func (s *replacedStorage) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return s.Storage.Update(ctx, func(tx storage.Tx) error { return fn(replacedTx{tx, s}) })
}

type replacedTx struct {
	storage.Tx
	of *replacedStorage
}

func (tx replacedTx) Get(kind, key string) ([]byte, error) {
	if kind != tx.of.kind {
		return tx.Tx.Get(kind, key)
	}
	// Also where the record has expired meanwhile.
	return append([]byte(nil), tx.of.value...), nil
}

func (tx replacedTx) List(kind, prefix string, fn func(string, []byte) error) error {
	return tx.ListAfter(kind, prefix, "", fn)
}

func (tx replacedTx) ListAfter(kind, prefix, after string, fn func(string, []byte) error) error {
	return tx.Tx.ListAfter(kind, prefix, after, func(key string, value []byte) error {
		if kind == tx.of.kind {
			value = append([]byte(nil), tx.of.value...)
		}
		return fn(key, value)
	})
}

// storedRecord is a kind of record, its value in the fixture, and a use of it that
// tells whether the record was believed.
type storedRecord struct {
	kind  string
	value []byte
	text  bool // not JSON: an index, or bytes
	use   func() (believed bool)
}

// storedRecords makes one record of every kind that requests read.
func storedRecords(f *fixture, w storage.Storage) []storedRecord {
	alice := f.person(fixtureProfile)
	v := f.signedIn(alice)
	offline := v.offline()
	code := v.code()
	made, secret, err := f.AddClient(f.t.Context(), clients.Metadata{Type: clients.Confidential, Scope: oauth.Scope{"read"}, GrantTypes: []string{"client_credentials"}})
	if err != nil {
		f.t.Fatal(err)
	}
	waiting := f.device("client_id=tv&scope=read")
	v.confirm(waiting.UserCode).press(pages.ActionAllow)
	deviceCode := f.lastingDeviceCode(waiting.DeviceCode)
	initial, _ := f.initial(3)
	revoked := f.issue(asSvc, "")
	expect(f.t, f.post("/revoke", "token="+revoked, asSvc), 200, "")

	token := func(body string, as ...fixtureRequest) func() bool {
		return func() bool {
			return strings.Contains(f.quietly(http.MethodPost, "/token", body, as...), `"access_token"`)
		}
	}
	cookies := func(r *http.Request) {
		for name, value := range v.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	asJSON := func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }
	restart := func() bool {
		_, err := NewState(f.store).realm(context.Background(), f.URL(), f.Issuer.config.keyPolicy())
		return err == nil
	}
	redeem, refresh := token(redeemForm(code), asWeb), token(refreshForm(offline.RefreshToken), asWeb)
	records := []storedRecord{
		{kind: "code", use: redeem},
		{kind: kindRefreshToken, use: refresh},
		{kind: "authorization", use: refresh},
		{kind: "user", use: func() bool {
			return strings.Contains(f.quietly(http.MethodGet, "/userinfo", "", withBearer(offline.AccessToken)), `"sub"`)
		}},
		{kind: "session", use: func() bool { return strings.Contains(f.quietly(http.MethodGet, "/account", "", cookies), "Alice") }},
		{kind: "consent", use: func() bool {
			return strings.Contains(f.quietly(http.MethodGet, "/authorize?"+authorization("prompt", "none").Encode(), "", cookies), "code=")
		}},
		{kind: kindClient, use: token(ccGrant, withBasic(made.ID, secret))},
		{kind: "device", use: func() bool {
			return strings.Contains(f.quietly(http.MethodPost, "/token", pollForm(deviceCode)), `"access_token"`)
		}},
		{kind: kindRegistrationToken, use: func() bool {
			return strings.Contains(f.quietly(http.MethodPost, "/register", goodMetadata, withBearer(initial), asJSON), `"client_id"`)
		}},
		{kind: "key", use: restart},
		{kind: "secret", text: true, use: restart},
		{kind: kindRevoked, use: restart},
	}
	for n := range records {
		err := w.View(f.t.Context(), func(tx storage.Tx) error {
			return tx.List(records[n].kind, "", func(_ string, value []byte) error {
				if !strings.Contains(string(value), `"redeemed":true`) {
					records[n].value = append([]byte{}, value...)
				}
				return nil
			})
		})
		if err != nil || records[n].value == nil {
			f.t.Fatalf("no record of kind %s: %v", records[n].kind, err)
		}
	}
	return records
}

// quietly sends a request that need not be answered well, and returns what came of
// it.
func (f *fixture) quietly(method, target, body string, changes ...fixtureRequest) string {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Header().Get("Location") + " " + w.Body.String()
}

// lastingDeviceCode is a device code for the same request, which does not expire
// while a fuzzer runs.
func (f *fixture) lastingDeviceCode(deviceCode string) string {
	f.t.Helper()
	var q device.Request
	if err := f.realm.seal.Unseal("device code", deviceCode, &q); err != nil {
		f.t.Fatal(err)
	}
	q.Expiry = q.Expiry.Add(24 * time.Hour)
	sealed, err := f.realm.seal.Seal("device code", q)
	if err != nil {
		f.t.Fatal(err)
	}
	return sealed
}

func pollForm(deviceCode string) string {
	return "client_id=tv&device_code=" + deviceCode + "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code"
}

// FuzzStorageRecord: a record whose value is not what was written, though its
// checksum holds, stops no server and is believed only if it can be read. What
// does not hold its checksum is FuzzEnvelope's.
func FuzzStorageRecord(f *testing.F) {
	panicked := new(panicLog)
	fixture := newFixture(f, withRegistration(RegistrationByToken), withDevices, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(panicked, nil))
	})
	undo := &undoneStorage{Storage: fixture.store.Storage}
	records := storedRecords(fixture, fixture.store.Storage)
	for n, r := range records {
		fixture.store.Storage = &replacedStorage{undo, r.kind, r.value}
		if !r.use() {
			f.Fatalf("%s: the control: the record as it was written is not believed", r.kind)
		}
		f.Add(uint8(n), r.value)
		for _, wrong := range []string{"", "null", "{}", "[]", "0", `""`, `{"`, string(r.value[:len(r.value)/2]), strings.Replace(string(r.value), `":"`, `":1,"`, 1)} {
			f.Add(uint8(n), []byte(wrong))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		r := records[int(which)%len(records)]
		fixture.store.Storage = &replacedStorage{undo, r.kind, value}
		fixture.realm.devices.Prune(time.Now().Add(48 * time.Hour)) // no poll is too soon
		believed := r.use()
		if panicked.seen {
			panicked.seen = false
			t.Errorf("%s: a record %.300q makes it panic: %s", r.kind, value, panicked.line)
		}
		if believed && !r.text && !json.Valid(value) {
			t.Errorf("%s: a record that cannot be read is believed: %.300q", r.kind, value)
		}
	})
}

// panicLog notices what ServeHTTP makes of a panic.
type panicLog struct {
	seen bool
	line string
}

func (l *panicLog) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "panic: ") {
		l.seen, l.line = true, string(line)
	}
	return len(line), nil
}

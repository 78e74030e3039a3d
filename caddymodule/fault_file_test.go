package caddymodule

import (
	"bytes"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// refusedStart judges that a server does not start, soon, with status 1, and that
// it names the file.
func (s *faultSite) refusedStart(path string) {
	s.t.Helper()
	if err := os.Remove(s.nodes[0].logFile()); err != nil {
		s.t.Fatal(err)
	}
	begun := time.Now()
	p, err := s.nodes[0].tryServe(s.text)
	if err == nil {
		s.t.Fatal("it starts")
	}
	if status := p.cmd.ProcessState.ExitCode(); status != 1 {
		s.t.Errorf("exit status %d, want 1", status)
	}
	if took := time.Since(begun); took > 5*time.Second {
		s.t.Errorf("it took %s to say so", took)
	}
	contains(s.t, s.nodes[0].log(), path)
}

// filedSite is a site that was stopped in good order, the bytes of its storage, and
// what clients hold of it.
type filedSite struct {
	*faultSite
	path          string
	sound         []byte
	used          int // bytes of it; the rest is room to grow
	good, revoked string
	held, ended   *chain
}

func newFiledSite(t *testing.T) *filedSite {
	t.Helper()
	f := &filedSite{path: filepath.Join(t.TempDir(), "oauth.db")}
	f.faultSite = newFaultSite(t, 1, "storage bolt {\n\t\t\tpath "+f.path+"\n\t\t}")
	p := f.nodes[0].serve(f.text)
	f.enter()
	f.good, f.revoked = f.accessToken(p.server), f.accessToken(p.server)
	p.send("POST", "/revoke", url.Values{"token": {f.revoked}}.Encode(), basic("web", appSecret), formType).want(t, 200)
	for _, c := range []**chain{&f.held, &f.ended} {
		code, err := f.code()
		if err != nil {
			t.Fatal(err)
		}
		*c = f.begin(artefact{"authorization_code", code}, 1)
	}
	if !f.revoke(f.ended, true) {
		t.Fatal("not revoked")
	}
	p.stop()
	f.client.CloseIdleConnections()
	var err error
	if f.sound, err = os.ReadFile(f.path); err != nil {
		t.Fatal(err)
	}
	f.used = len(bytes.TrimRight(f.sound, "\x00"))
	return f
}

func (f *filedSite) put(content []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// TestFaultForeignFile: a server whose storage is not what it was does not start,
// and does not touch the file; with a backup in its place it starts within 5 s.
func TestFaultForeignFile(t *testing.T) {
	f := newFiledSite(t)
	for _, fault := range []struct {
		name    string
		content []byte
	}{
		{"empty", nil},
		{"cut off after the head", f.sound[:8192]},
		{"half", f.sound[:f.used/2]},
		{"text", bytes.Repeat([]byte("no database\n"), 4096)},
		{"of another program", append([]byte("SQLite format 3\x00"), make([]byte, 64<<10)...)},
	} {
		t.Run(fault.name, func(t *testing.T) {
			f.put(fault.content)
			f.refusedStart(f.path)
			if now, err := os.ReadFile(f.path); err != nil || !bytes.Equal(now, fault.content) {
				t.Errorf("the file is another one now (%v)", err)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
		f.refusedStart(f.path)
	})
	f.put(f.sound)
	begun := time.Now()
	f.nodes[0].serve(f.text)
	if took := time.Since(begun); took > backWithin {
		t.Errorf("it serves %s after the repair, want %s", took, backWithin)
	}
	f.mustBe(401, f.revoked)
	f.mustBe(200, f.good)
	f.judge(f.held)
	f.judge(f.ended)
}

// TestFaultFlippedBit: one bit of the storage is another one. Whether the server
// starts or not, what was revoked or used is not good again, and what is good is
// accepted or, where that cannot be told, refused as unavailable.
func TestFaultFlippedBit(t *testing.T) {
	f := newFiledSite(t)
	refused, unavailable, wrong := 0, 0, 0
	flips := scaled(3, 300)
	for range flips {
		at := rand.IntN(f.used * 8)
		damaged := bytes.Clone(f.sound)
		damaged[at/8] ^= 1 << (at % 8)
		f.put(damaged)
		p, err := f.nodes[0].tryServe(f.text)
		if err != nil {
			if refused++; p.cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("bit %d of byte %d: exit status %d: %.2000s", at%8, at/8, p.cmd.ProcessState.ExitCode(), p.stderr.String())
			}
			continue
		}
		before := f.refused.Load()
		for token, want := range map[string]int{f.good: 200, f.revoked: 401, f.ended.access[0]: 401} {
			if status := f.gate(p.server, token); status != want && status != 503 {
				wrong++
				t.Errorf("bit %d of byte %d: status %d at the gate, want %d or 503", at%8, at/8, status, want)
			}
		}
		for _, a := range append(append([]artefact{{"refresh_token", f.ended.refresh}}, f.ended.spent...), f.held.spent...) {
			if status := f.present(a); status != 400 && status != 503 {
				wrong++
				t.Errorf("bit %d of byte %d: a spent %s is answered with %d", at%8, at/8, a.grant, status)
			}
		}
		if f.refused.Load() > before {
			unavailable++
		}
		p.stop()
		f.client.CloseIdleConnections()
	}
	t.Logf("%d bits flipped: %d times the server did not start, %d times something was answered with 503, %d wrong answers", flips, refused, unavailable, wrong)
}

// TestFaultFileUnderServer: the file is taken away from under a running server, or
// cut off. What needs it is refused with 503, the gate goes on, and where the file
// comes back, so do writes.
func TestFaultFileUnderServer(t *testing.T) {
	k := startOnMedium(t, filepath.Join(t.TempDir(), "oauth.db"))
	path := k.path
	var promised []string
	for _, fault := range []struct {
		name       string
		begin, end func() error
	}{
		{"moved away", func() error { return os.Rename(path, path+".away") }, func() error { return os.Rename(path+".away", path) }},
		{"replaced by another", func() error {
			if err := os.Rename(path, path+".away"); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("no database"), 0o600)
		}, func() error { return os.Rename(path+".away", path) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			if err := fault.begin(); err != nil {
				t.Fatal(err)
			}
			if status := k.revokes(&promised); status != 503 {
				t.Errorf("a revocation: %d, want 503", status)
			}
			k.judged()
			if err := fault.end(); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			eventually(t, "writes are accepted", func() bool { return k.revokes(&promised) == 200 })
			if took := time.Since(begun); took > backWithin {
				t.Errorf("writes are accepted %s after the repair, want %s", took, backWithin)
			}
			k.judged()
		})
	}
	t.Run("cut off", func(t *testing.T) {
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 8192); err != nil {
			t.Fatal(err)
		}
		if status := k.revokes(&promised); status != 503 {
			t.Errorf("a revocation: %d, want 503", status)
		}
		k.judged()
		k.p.stop()
		k.site.refusedStart(path)
		if err := os.WriteFile(path, sound, 0o600); err != nil {
			t.Fatal(err)
		}
		k.p = k.site.nodes[0].serve(k.site.text)
		k.judged()
		k.site.mustBe(401, promised...)
	})
}

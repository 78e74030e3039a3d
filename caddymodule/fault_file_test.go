package caddymodule

import (
	"bytes"
	"fmt"
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

// filedSite is a site that has ended, the bytes of its storage, and what clients
// hold of it.
type filedSite struct {
	*faultSite
	path          string
	sound         []byte
	used          int // bytes of it; the rest is room to grow
	good, revoked string
	held, ended   *chain
}

func newFiledSite(t *testing.T, end func(*process)) *filedSite {
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
	end(p)
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
	f := newFiledSite(t, (*process).stop)
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
// accepted or, where that cannot be told, refused as unavailable. The file is one of
// a server that was stopped in good order, and one of a server that was killed.
func TestFaultFlippedBit(t *testing.T) {
	t.Run("stopped", func(t *testing.T) { newFiledSite(t, (*process).stop).flipBits(scaled(2, 300)) })
	t.Run("killed", func(t *testing.T) { newFiledSite(t, (*process).kill).flipBits(scaled(2, 300)) })
}

func (f *filedSite) flipBits(flips int) {
	refused, unavailable, wrong := 0, 0, 0
	for range flips {
		bit := rand.IntN(f.used * 8)
		damaged := bytes.Clone(f.sound)
		damaged[bit/8] ^= 1 << (bit % 8)
		f.put(damaged)
		p, err := f.nodes[0].tryServe(f.text)
		if err != nil {
			if refused++; p.cmd.ProcessState.ExitCode() != 1 {
				f.t.Errorf("%s: exit status %d: %.2000s", f.place(bit), p.cmd.ProcessState.ExitCode(), p.stderr.String())
			}
			continue
		}
		before := f.refused.Load()
		judge := func(what string, status, want int) {
			if status != want && status != 503 {
				wrong++
				f.t.Errorf("%s: %s: status %d, want %d or 503", f.place(bit), what, status, want)
			}
		}
		judge("a good token", f.gate(p.server, f.good), 200)
		judge("a revoked token", f.gate(p.server, f.revoked), 401)
		judge("a token of a revoked authorization", f.gate(p.server, f.ended.access[0]), 401)
		for _, a := range append([]artefact{{"refresh_token", f.ended.refresh}}, f.ended.spent...) {
			judge("a "+a.grant+" of a revoked authorization", f.present(a), 400)
		}
		judge("a good refresh token", f.present(artefact{"refresh_token", f.held.refresh}), 200)
		for _, a := range f.held.spent {
			judge("a spent "+a.grant, f.present(a), 400)
		}
		if f.refused.Load() > before {
			unavailable++
		}
		p.stop()
		f.client.CloseIdleConnections()
	}
	f.t.Logf("%d bits flipped: %d times the server did not start, %d times something was answered with 503, %d wrong answers", flips, refused, unavailable, wrong)
}

// place says where a bit of the file is, and the flags of its page (1: branch,
// 2: leaf, 4: meta, 16: free list).
func (f *filedSite) place(bit int) string {
	at, size := bit/8, os.Getpagesize()
	page := at / size
	return fmt.Sprintf("bit %d of byte %d of page %d, whose flags are % x", bit%8, at%size, page, f.sound[page*size+8:][:2])
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

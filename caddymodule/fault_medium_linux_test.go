package caddymodule

import (
	"bufio"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refusedAndBack is the course of a fault of the medium: it begins, writes are
// refused and the gate goes on; it ends, and within 5 s writes are accepted. What
// was answered with 200 before, in its midst and after it is so after a kill.
func (k *known) refusedAndBack(t *testing.T, begin func() (end func())) {
	t.Helper()
	var promised []string
	code, err := k.site.code()
	if err != nil {
		t.Fatal(err)
	}
	load := k.site.load(8, nil)
	until := k.site.acknowledged.Load() + 30
	eventually(t, "acknowledgements", func() bool { return k.site.acknowledged.Load() >= until || t.Failed() })
	end := begin()
	eventually(t, "a write is refused", func() bool { return k.revokes(&promised) == 503 })
	load.end()
	k.judged()
	held := &chain{}
	k.site.exchange(held, artefact{"authorization_code", code})
	if a := k.p.send("GET", "http://"+k.p.admin+"/oauth/health", ""); len(held.spent) == 0 && a.StatusCode != 503 {
		t.Errorf("writes are refused, and the server says it is ready: %s", a.body)
	}
	k.judged()
	end()
	begun := time.Now()
	eventually(t, "writes are accepted", func() bool { return k.revokes(&promised) == 200 })
	took := time.Since(begun)
	if took > backWithin {
		t.Errorf("writes are accepted %s after the repair, want %s", took, backWithin)
	}
	k.judged()
	k.p.kill()
	k.site.client.CloseIdleConnections()
	k.p = k.site.nodes[0].serve(k.site.text)
	k.judged()
	k.site.mustBe(401, promised...)
	load.chains = append(load.chains, held)
	load.judgeAll()
	k.p.send("GET", "http://"+k.p.admin+"/oauth/storage/check", "").want(t, 200)
	t.Logf("back after %s; %d acknowledged, %d answers 503, %d good twice, %d lost", took.Round(time.Millisecond),
		k.site.acknowledged.Load(), k.site.refused.Load(), k.site.double.Load(), k.site.lost.Load())
}

// TestFaultMediumErrors: the system refuses what the storage asks of it.
func TestFaultMediumErrors(t *testing.T) {
	faults := []struct{ name, call, inject string }{
		{"sync fails", "fdatasync", "error=EIO"},
		{"write fails", "pwrite64", "error=EIO"},
		{"read-only file system", "pwrite64", "error=EROFS"},
		{"disk full when the file grows", "pwrite64", "error=ENOSPC"},
	}
	for _, fault := range faults[:scaled(1, len(faults))] {
		t.Run(fault.name, func(t *testing.T) {
			k := startOnMedium(t, filepath.Join(t.TempDir(), "oauth.db"))
			k.refusedAndBack(t, func() func() { return k.p.inject(fault.call, fault.inject) })
		})
	}
}

// TestFaultSlowSync: while a sync takes seconds, the gate judges as fast as ever,
// since it waits for no write.
func TestFaultSlowSync(t *testing.T) {
	k := startOnMedium(t, filepath.Join(t.TempDir(), "oauth.db"))
	end := k.p.inject("fdatasync", "delay_enter=1000000")
	token, answered := k.site.accessToken(k.p.server), make(chan int, 1)
	go func() {
		a, err := k.site.post("/revoke", url.Values{"token": {token}})
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		answered <- a.StatusCode
	}()
	begun := time.Now()
	for range 50 {
		k.judged()
	}
	took := time.Since(begun)
	select {
	case status := <-answered:
		t.Errorf("a write was answered with %d while its sync takes 1 s, after %s", status, took)
	default:
	}
	t.Logf("150 decisions in %s while a sync was under way", took.Round(time.Millisecond))
	if status := <-answered; status != 200 {
		t.Errorf("status %d", status)
	}
	end()
}

// TestFaultDiskFull: the file system of the storage has no space left.
func TestFaultDiskFull(t *testing.T) {
	disk := mountSmall(t, "4m")
	k := startOnMedium(t, filepath.Join(disk, "oauth.db"))
	k.refusedAndBack(t, func() func() {
		path := filepath.Join(disk, "other")
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for err == nil {
			_, err = file.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		return func() {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestFaultReadOnlyStart: on a medium that cannot be written a server does not
// start, and says which file it is; on one that can again, it does.
func TestFaultReadOnlyStart(t *testing.T) {
	disk := mountSmall(t, "4m")
	k := startOnMedium(t, filepath.Join(disk, "oauth.db"))
	k.p.stop()
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|flags, "size=4m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	k.site.refusedStart(filepath.Join(disk, "oauth.db"))
	remount(0)
	k.p = k.site.nodes[0].serve(k.site.text)
	k.judged()
}

// mountSmall mounts a file system in memory, of the size that is given.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a file system to fill, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// inject makes a system call of the server fail, or wait, until end is called: as
// strace does.
func (p *process) inject(call, fault string) (end func()) {
	p.t.Helper()
	tracer := exec.Command("strace", "-f", "-p", strconv.Itoa(p.cmd.Process.Pid), "-e", "trace="+call, "-e", "inject="+call+":"+fault, "-o", os.DevNull)
	tracer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	says, err := tracer.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		p.t.Fatalf("strace: %v", err)
	}
	lines := bufio.NewReader(says)
	first, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(first, "attached") {
		p.t.Fatalf("strace: %s %v", first, err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = lines.WriteTo(io.Discard)
	}()
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = tracer.Process.Signal(syscall.SIGTERM) // it lets go of the server
		<-drained
		_ = tracer.Wait()
	}
	p.t.Cleanup(end)
	return end
}

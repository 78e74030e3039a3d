package postgrestest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the one that PostgreSQL runs as where the tests run as root, which
// it refuses.
const account = "postgres"

// runAsServer makes a command run as a user that PostgreSQL accepts, and stop
// at once when this process ends.
func runAsServer(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := lookUp(account)
	command.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	return err
}

// giveAway makes a file or directory that of the server's user.
func giveAway(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := lookUp(account)
	if err != nil {
		return err
	}
	return os.Chown(path, int(uid), int(gid))
}

func lookUp(name string) (uid, gid uint32, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("PostgreSQL does not run as root, and there is no user %s (on Debian and Ubuntu: apt-get install postgresql): %w", name, err)
	}
	for id, text := range map[*uint32]string{&uid: u.Uid, &gid: u.Gid} {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return 0, 0, err
		}
		*id = uint32(n)
	}
	return uid, gid, nil
}

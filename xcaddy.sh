#!/bin/sh
# Builds, runs and tests Caddy with the module of this checkout; "./xcaddy.sh help" lists the commands.
set -eu

# What xcaddy itself builds with; the build by hand and the tests use the same, so that Caddy is compiled once for both.
build_tags=nobadger,nomysql,nopgx
xcaddy_version=v0.4.5

# What the tests need beyond Go, as command:package,package.
test_tools="chromium:chromium php:php-cli,php-curl npm:npm initdb:postgresql strace:strace"
race_tools="cc:build-essential"

usage() {
	cat <<'END'
Usage: ./xcaddy.sh [command]

  build                           build ./caddy: Caddy with the module of this checkout (the default)
  run [caddy arguments]           build, then run Caddyfile.example in the foreground; Ctrl-C stops it
  test [--all] [go test arguments]
                                  format, vet, build and test everything; --all adds the race detector and the long tests;
                                  with go test arguments, only those tests run
  help                            show this text

Examples:
  ./xcaddy.sh
  ./xcaddy.sh run
  ./xcaddy.sh run --config my.Caddyfile         paths count from the checkout
  UPSTREAM=localhost:3000 ./xcaddy.sh run       protect an API of your own
  ./xcaddy.sh test ./issuer -run TokenExchange
  ./caddy list-modules                          what was built

Environment:
  XCADDY     how to build: path (xcaddy on PATH), fetch (xcaddy, downloaded by Go) or hand (the same steps without
             xcaddy); by default the first of these that works
  CI=true    a skipped test fails the run
END
}

say() { printf '%s\n' "xcaddy.sh: $*" >&2; }

fail() {
	say "$*"
	exit 1
}

# --- long commands ------------------------------------------------------------

# start_progress prints a sign of life every 15 seconds until stop_progress. It stays in the background and the command in
# the foreground, because a shell lets its background commands ignore Ctrl-C.
start_progress() {
	(
		begun=$(date +%s)
		next=15
		while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
			elapsed=$(($(date +%s) - begun))
			[ "$elapsed" -lt "$next" ] && continue
			printf '... still %s (%s s)\n' "$1" "$elapsed" >&2
			next=$((elapsed + 15))
		done
	) &
	progress_pid=$!
}

stop_progress() {
	[ -n "$progress_pid" ] || return 0
	kill "$progress_pid" 2>/dev/null || true
	wait "$progress_pid" 2>/dev/null || true
	progress_pid=
}

# quietly DOING COMMAND... runs a command with its output in $work/log, and answers its exit status.
quietly() {
	doing=$1
	shift
	status=0
	start_progress "$doing"
	"$@" >"$work/log" 2>&1 </dev/null || status=$?
	stop_progress
	return "$status"
}

# explain_failure WHAT says in one line why the command whose output is in $work/log failed, or shows that output.
explain_failure() {
	if grep -Eq 'dial tcp|proxyconnect|no such host|TLS handshake timeout|network is unreachable' "$work/log"; then
		kept=$(mktemp "${TMPDIR:-/tmp}/xcaddy-log.XXXXXX")
		cp "$work/log" "$kept"
		fail "cannot reach the Go module proxy (GOPROXY=$(go env GOPROXY)) or checksum database; the full output is in $kept"
	fi
	grep -v '^go: downloading ' "$work/log" >&2 || true
	say "$1 failed"
}

give_up() {
	explain_failure "$1"
	exit 1
}

clean_up() {
	stop_progress
	[ -z "$work" ] || rm -rf "$work"
	work=
}

# --- what has to be there -----------------------------------------------------

# Go's caches and Caddy's data both live under HOME. Without it Go refuses to work, and Caddy would keep its data
# in ./caddy, which is the program.
ensure_home() {
	home=${HOME:-}
	if [ -n "$home" ]; then
		[ -d "$home" ] && [ -w "$home" ] && return
		[ ! -e "$home" ] && [ -w "$(dirname "$home")" ] && return
	fi
	HOME=$root/.home
	export HOME
	mkdir -p "$HOME" 2>/dev/null || true
	[ -w "$HOME" ] || fail "neither HOME nor $root is writable for user $(id -u)"
	say "HOME (${home:-unset}) cannot be written: caches and data are kept in $HOME"
}

# older VERSION VERSION tells whether the first Go version precedes the second.
older() {
	printf '%s %s\n' "${1#go}" "${2#go}" | awk '{
		split($1, a, /[.a-z -]/); split($2, b, /[.a-z -]/)
		for (i = 1; i <= 3; i++) if (a[i] + 0 != b[i] + 0) exit !(a[i] + 0 < b[i] + 0)
		exit 1
	}'
}

ensure_go() {
	wanted=$(awk '$1 == "go" { print $2; exit }' go.mod)
	if ! command -v go >/dev/null; then
		if [ -x /usr/local/go/bin/go ]; then
			fail "go is not on PATH; it is in /usr/local/go/bin: PATH=\$PATH:/usr/local/go/bin ./xcaddy.sh"
		fi
		fail "Go $wanted or newer is needed, and no go is on PATH; see https://go.dev/doc/install"
	fi
	# Outside the checkout, so that an old Go answers for itself instead of refusing go.mod.
	have=$(cd / && GOTOOLCHAIN=local go env GOVERSION) || fail "go does not work: $(command -v go)"
	older "$have" "$wanted" || return 0
	case $(cd / && go env GOTOOLCHAIN) in
	local | path | '') fail "Go $wanted or newer is needed, this is ${have#go}; see https://go.dev/doc/install, or set GOTOOLCHAIN=auto" ;;
	esac
	say "this is Go ${have#go}; it downloads Go $wanted, which go.mod asks for"
}

# ensure_tools COMMAND:PACKAGE... installs what is missing where apt may, and otherwise names it.
ensure_tools() {
	packages=
	for tool; do
		have_tool "${tool%%:*}" || packages="$packages $(echo "${tool#*:}" | tr , ' ')"
	done
	[ -n "$packages" ] || return 0
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		say "some tests need what is not installed:$packages"
		return
	fi
	say "installing$packages"
	quietly "installing$packages" install_packages || say "cannot install$packages: $(tail -n 1 "$work/log")"
}

# Debian keeps the programs of a PostgreSQL server off PATH, a directory for each version.
have_tool() {
	if [ "$1" = initdb ]; then
		for program in /usr/lib/postgresql/*/bin/initdb; do
			if [ -x "$program" ]; then return; fi
		done
	fi
	command -v "$1" >/dev/null || return 1
	[ "$1" != php ] || php -m | grep -qx curl
}

install_packages() {
	apt-get update || return
	# shellcheck disable=SC2086 # One word a package.
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
}

# --- build --------------------------------------------------------------------

build() {
	[ -w . ] || fail "cannot write ./caddy: $root is not writable for user $(id -u)"
	[ ! -d caddy ] || fail "cannot write ./caddy: it is a directory"
	case ${XCADDY:-} in
	'') build_with_first_found ;;
	path)
		command -v xcaddy >/dev/null || fail "XCADDY=path, but no xcaddy is on PATH"
		build_with_xcaddy xcaddy || give_up "xcaddy (XCADDY=hand builds without it)"
		;;
	fetch)
		fetch_xcaddy || give_up "fetching xcaddy $xcaddy_version (XCADDY=hand builds without it)"
		build_with_xcaddy "$work/bin/xcaddy" || give_up "xcaddy (XCADDY=hand builds without it)"
		;;
	hand) build_by_hand ;;
	*) fail "XCADDY is path, fetch or hand, not $XCADDY" ;;
	esac
	say "built $root/caddy"
}

# xcaddy asks the module proxy about every package, this unpublished one too. A proxy that refuses the question instead of answering
# "not found" stops xcaddy, but not the build by hand.
build_with_first_found() {
	if command -v xcaddy >/dev/null; then
		build_with_xcaddy xcaddy && return
	elif fetch_xcaddy; then
		build_with_xcaddy "$work/bin/xcaddy" && return
	else
		say "xcaddy is not on PATH and cannot be downloaded: taking its steps by hand"
		build_by_hand
		return
	fi
	say "xcaddy failed ($(tail -n 1 "$work/log")): taking its steps by hand"
	build_by_hand
}

# An install, not a "go list -m": a proxy may know a version and still not serve what running it takes. GOOS and GOARCH are those of the
# machine, also where ./caddy is built for another.
fetch_xcaddy() {
	bounded=
	if command -v timeout >/dev/null; then bounded="timeout 60"; fi
	# shellcheck disable=SC2086 # Either nothing or two words.
	quietly "fetching xcaddy" env GOOS= GOARCH= GOFLAGS= GOBIN="$work/bin" \
		$bounded go install "github.com/caddyserver/xcaddy/cmd/xcaddy@$xcaddy_version"
}

# The replacement names the module, while the package stands below its root.
build_with_xcaddy() {
	say "building Caddy $caddy_version with the module, with xcaddy; the first build takes a few minutes"
	quietly compiling "$1" build "$caddy_version" --output ./caddy --with "$module/caddymodule" --replace "$module=."
}

# What xcaddy does, but with the versions and checksums of this checkout instead of resolving them anew.
build_by_hand() {
	say "building Caddy $caddy_version with the module; the first build takes a few minutes"
	mkdir "$work/main"
	cp go.mod go.sum "$work/main"
	write_main >"$work/main/main.go"
	quietly compiling compile_by_hand || give_up "the build"
}

write_main() {
	cat <<END
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "$module/caddymodule"
)

func main() { caddycmd.Main() }
END
}

compile_by_hand() (
	cd "$work/main" || exit
	export GOWORK=off
	go mod edit -module=caddy -require="$module@v0.0.0-00010101000000-000000000000" -replace="$module=$root" || exit
	go build -trimpath -ldflags "-w -s" -tags "$build_tags" -o "$root/caddy" .
)

# --- run ----------------------------------------------------------------------

run() {
	names_config "$@" || ensure_ports
	build
	say "data is kept in $(./caddy environ | sed -n 's/^caddy.AppDataDir=//p')"
	clean_up
	exec ./caddy run --config Caddyfile.example --adapter caddyfile "$@"
}

# names_config ARGUMENTS tells whether a configuration other than the example is asked for, whose ports are its own.
names_config() {
	for argument; do
		case $argument in -c | --config | --config=*) return 0 ;; esac
	done
	return 1
}

# Caddy shares a port that another process of the same user listens on instead of refusing it, so it is refused here.
ensure_ports() {
	ensure_port 8080 "the example listens on it"
	[ -n "${UPSTREAM:-}" ] || ensure_port 9000 "the example's own API listens on it; UPSTREAM=host:port protects another"
	[ -n "${CADDY_ADMIN:-}" ] || ensure_port 2019 "Caddy's admin endpoint listens on it; another Caddy may be running: ./caddy stop"
}

ensure_port() {
	if port_is_busy "$1"; then fail "port $1 is in use: $2"; fi
}

port_is_busy() {
	if [ -r /proc/net/tcp ]; then
		hex=$(printf ':%04X' "$1")
		# The second column is the local address, the fourth the state: 0A is LISTEN.
		cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
			awk -v port="$hex" '$4 == "0A" && $2 ~ port "$" { found = 1 } END { exit !found }'
	else
		curl --silent --noproxy '*' --max-time 2 --output /dev/null "http://localhost:$1/" || [ $? -ne 7 ]
	fi
}

# --- test ---------------------------------------------------------------------

run_tests() {
	race=
	timeout=20m
	if [ "${1:-}" = --all ]; then
		shift
		race=-race
		timeout=60m
		export OAUTH_TEST_ALL=1 CGO_ENABLED=1
		# shellcheck disable=SC2086 # One word a tool.
		ensure_tools $race_tools
	fi
	# shellcheck disable=SC2086 # One word a tool.
	ensure_tools $test_tools
	GOFLAGS="$(go env GOFLAGS) -trimpath -tags=$build_tags -buildvcs=false"
	export GOFLAGS

	failed=
	if [ $# -gt 0 ]; then
		test_only "$@"
	else
		test_everything
	fi
	[ -z "$failed" ] || fail "failed:$failed"
}

# The packages that link Caddy take minutes to compile and come last.
test_everything() {
	check_format
	quietly "reading the packages" go list -e ./... || give_up "go list"
	# shellcheck disable=SC2046 # One word a package.
	check_packages $(grep "^$module" "$work/log" | grep -v "^$module/caddymodule")
	check_packages ./caddymodule/...
}

# test_only ARGUMENTS adds the packages where the arguments name none.
test_only() {
	packages=./...
	for argument; do
		case $argument in . | ./* | "$module"*) packages= ;; esac
	done
	go_test ${packages:+"$packages"} "$@"
}

check_format() {
	gofmt=$(command -v gofmt || echo "$(go env GOROOT)/bin/gofmt")
	unformatted=$("$gofmt" -l ./*/) || failed="$failed gofmt"
	[ -n "$unformatted" ] || return 0
	printf 'not formatted (gofmt -w): %s\n' "$unformatted" >&2
	failed="$failed gofmt"
}

check_packages() {
	[ $# -gt 0 ] || return 0
	for step in vet build; do
		quietly "running go $step" go "$step" "$@" && continue
		explain_failure "go $step"
		failed="$failed go-$step"
	done
	go_test -vet=off "$@"
}

# go_test runs go test -v and shows what go test without -v would, plus the tests that were skipped.
go_test() {
	start_progress testing
	{
		status=0
		# shellcheck disable=SC2086 # Nothing or one word.
		go test -v $race -timeout "$timeout" "$@" </dev/null || status=$?
		echo "$status" >"$work/status"
	} | show_tests "$@"
	stop_progress
	[ "$(cat "$work/status")" -eq 0 ] || failed="$failed go-test"
	[ "${CI:-}" = true ] && [ -s "$work/skipped" ] || return 0
	say "$(grep -c . "$work/skipped") skipped, which CI does not accept"
	failed="$failed skipped-tests"
}

# A package's lines are held back until its last one says whether they matter. Packages come one after another, and what
# the compiler says goes to standard error, past this filter.
show_tests() {
	: >"$work/skipped"
	all=0
	for argument; do
		case $argument in -v | -json | -bench | -bench=*) all=1 ;; esac
	done
	awk -v all="$all" -v skipped="$work/skipped" '
		/^ *--- SKIP: / { print >skipped; printf "%s%s\n", reason, $0; reason = ""; fflush(); next }
		all { print; fflush(); next }
		/^=== (RUN|PAUSE|CONT|NAME) / || /^ *--- PASS: / || /^PASS$/ { next }
		/^ok  \t/ || /^\?   \t/ || /\[no test files\]$/ { held = ""; print; fflush(); next }
		/^FAIL/ { printf "%s", held; held = ""; print; fflush(); next }
		/^ *[^ ]+_test\.go:[0-9]+: / { reason = $0 "\n" }
		{ held = held $0 "\n" }
		END { printf "%s", held }
	'
}

# --- entry --------------------------------------------------------------------

command=${1:-build}
[ $# -eq 0 ] || shift
case $command in
build | run | test) ;;
help | --help | -h)
	usage
	exit 0
	;;
*)
	say "unknown command $command; ./xcaddy.sh help lists them"
	exit 2
	;;
esac
if [ "$command" = build ] && [ $# -gt 0 ]; then
	say "build takes no arguments"
	exit 2
fi

cd "$(dirname "$0")"
root=$(pwd -P)
work=
progress_pid=
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

export CGO_ENABLED=0
ensure_home
ensure_go
module=$(awk '$1 == "module" { print $2; exit }' go.mod)
caddy_version=$(awk '$1 == "github.com/caddyserver/caddy/v2" || $2 == "github.com/caddyserver/caddy/v2" { print $NF; exit }' go.mod)
work=$(mktemp -d "${TMPDIR:-/tmp}/xcaddy.XXXXXX")

case $command in
build) build ;;
run) run "$@" ;;
test) run_tests "$@" ;;
esac

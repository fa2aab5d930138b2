#!/usr/bin/env bash
# All of forge's checks and tests, from nothing: installs what they need (Debian's packages, as root or with sudo),
# starts a Docker engine unless one answers, and ends what it started.
#
#   tests/run.sh             formatting, clippy, all tests
#   tests/run.sh WORDS...    the same, with WORDS for `cargo test`
#
# Needed beforehand: Rust (https://rustup.rs). The large images are made while cargo builds. The settings of
# tests/setup.sh hold here too. Exit status: 0 all is well, 1 something failed (all of it runs nevertheless).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

status=0
images=
log=

# The process id of the engine that tests/setup.sh started last.
engine() { cat "${FORGE_TESTBED:-/var/tmp/forge-testbed}/dockerd.pid" 2>/dev/null; }

say() { printf '\n== %s\n' "$*"; }

finish() {
    local code=$?
    trap - EXIT INT TERM HUP
    if [ -n "$images" ] && kill -0 "$images" 2>/dev/null; then
        kill -- "-$images" 2>/dev/null
        wait "$images" 2>/dev/null
    fi
    [ -z "$log" ] || rm -f "$log"
    [ "$(engine)" = "$engine_before" ] || bash tests/setup.sh down
    exit "$code"
}

# check TITLE COMMAND...: goes on after a failure, and remembers it.
check() {
    local title=$1 start=$SECONDS
    shift
    say "$title"
    if "$@"; then
        echo "== $title: ok, $((SECONDS - start)) s"
    else
        echo "== $title: FAILED, $((SECONDS - start)) s" >&2
        status=1
    fi
}

find_cargo() {
    command -v cargo >/dev/null 2>&1 || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    command -v cargo >/dev/null 2>&1 || {
        echo 'tests/run.sh: cargo is missing; install Rust: https://rustup.rs' >&2
        exit 1
    }
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        rustup component add rustfmt clippy || exit 1
}

# Waits for the images; what was said about them follows.
images_ready() {
    local code=0
    wait "$images" || code=$?
    images=
    cat "$log"
    return $code
}

exec </dev/null
find_cargo

say 'setup'
engine_before=$(engine)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
settings=$(bash tests/setup.sh registry) || exit 1
eval "$settings"

# In a process group of its own, so that all of it ends when this ends early.
log=$(mktemp)
set -m
bash tests/setup.sh services >"$log" 2>&1 &
images=$!
set +m

check 'cargo fmt' cargo fmt --check
check 'cargo clippy' cargo clippy --locked --all-targets --keep-going -- -D warnings
check 'build' cargo test --locked --no-run
check 'images' images_ready
check 'tests' cargo test --locked --no-fail-fast "$@"

exit $status

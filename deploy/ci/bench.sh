#!/bin/sh
# Tells Campanile of a test bench with curl alone, for pipelines that have no `campanile bench-link`:
#
#   export CAMPANILE_BENCH_TO=https://bells.example.com/hooks/benches CAMPANILE_BENCH_SECRET=…
#   bench.sh ready https://test-1.bench.example.com
#   bench.sh gone https://test-1.bench.example.com
#
# The branch is the pipeline's own, else git's. Ends with 0 when it was taken, or ignored because no issue is meant; with 1
# when it was refused or not reached in three tries; with 2 when it was called wrongly.

set -eu

usage() {
    echo "error: $1" >&2
    echo "hint: bench.sh ready|gone URL, with CAMPANILE_BENCH_TO and CAMPANILE_BENCH_SECRET set" >&2
    exit 2
}

# The same variables in the same order as `campanile bench-link`; a test holds them equal.
branch() {
    for name in "${CI_MERGE_REQUEST_SOURCE_BRANCH_NAME:-}" "${GITHUB_HEAD_REF:-}" "${BITBUCKET_BRANCH:-}" \
        "${CHANGE_BRANCH:-}" "${CI_COMMIT_REF_NAME:-}"; do
        [ -z "$name" ] || { printf '%s\n' "$name" && return; }
    done
    # In a pull request these two have its number instead: 12/merge, PR-12.
    if [ -n "${GITHUB_REF_NAME:-}" ] && ! printf '%s\n' "$GITHUB_REF_NAME" | grep -qE '^[0-9]+/merge$'; then
        printf '%s\n' "$GITHUB_REF_NAME"
    elif [ -n "${BRANCH_NAME:-}" ] && ! printf '%s\n' "$BRANCH_NAME" | grep -qE '^PR-[0-9]+$'; then
        printf '%s\n' "$BRANCH_NAME"
    else
        git rev-parse --abbrev-ref HEAD 2>/dev/null | grep -vx HEAD
    fi
}

case "${1:-}" in ready | gone) ;; *) usage "the first word is neither ready nor gone" ;; esac
[ -n "${2:-}" ] || usage "no address of a bench is given"
[ -n "${CAMPANILE_BENCH_TO:-}" ] || usage "CAMPANILE_BENCH_TO is not set"
[ -n "${CAMPANILE_BENCH_SECRET:-}" ] || usage "CAMPANILE_BENCH_SECRET is not set"
branch=$(branch) || usage "no variable of a pipeline names the branch, and git is on none"

# With the time of the call: a bench that comes, goes and comes again is no call that came twice.
at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
# The secret goes in by standard input: everybody on the machine sees a process' arguments.
printf 'header = "Authorization: Bearer %s"\n' "$CAMPANILE_BENCH_SECRET" |
    curl --config - --silent --show-error --fail --max-time 15 --retry 2 --retry-connrefused \
        --data-urlencode "branch=$branch" --data-urlencode "url=$2" --data-urlencode "state=$1" \
        --data-urlencode "at=$at" "$CAMPANILE_BENCH_TO" || exit 1
echo

#!/bin/sh
# Builds the Debian package and prints its path: `deploy/deb.sh [PROFILE]`, release by default.
# Needs a C compiler, Rust, and `cargo install cargo-deb --locked`.

set -eu
cd "$(dirname "$0")/.."
profile=${1:-release}
built=${CARGO_TARGET_DIR:-target}/$profile
[ "$profile" != dev ] || built=${CARGO_TARGET_DIR:-target}/debug
cargo build --locked --quiet --profile "$profile"

# What is made for the package alone; Cargo.toml says where it goes.
mkdir -p "$built/deb"
sed 's#^store: sqlite://data/#store: sqlite:///var/lib/campanile/#' config.yaml >"$built/deb/config.yaml"
grep -q '^store: sqlite:///var/lib/campanile/' "$built/deb/config.yaml" || {
    echo "config.yaml names its store in another way than deploy/deb.sh knows: mend the line with sed" >&2
    exit 1
}
for shell in bash zsh fish; do
    "$built/campanile" completions "$shell" >"$built/deb/campanile.$shell"
done
cargo deb --locked --no-build --profile "$profile"

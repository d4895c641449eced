# shellcheck shell=bash disable=SC2034
# Sourced by setup.sh and bed.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${TESTBED_CACHE:-/var/cache/etcdup-testbed}/vagbed                          # image store, made by setup.sh, read-only afterwards
RUN=${VAGBED_RUN:-/var/tmp/vagbed}                         # one directory for each bed; not below the Vagrantfile: vagrant looks in parents
ROOTS=${TESTBED_CACHE:-/var/cache/etcdup-testbed}           # holds the project's root-*
IMAGE=localhost/vagbed:1
die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# podman_flags STATE: configuration of a podman that has nothing of its own outside STATE
podman_config() {
    local d=$1 nofile; nofile=$(ulimit -Hn)
    mkdir -p "$d/bin" "$d/tmp"
    cat >"$d/containers.conf" <<X
[containers]
log_driver = "k8s-file"
base_hosts_file = "none"
# Without CAP_SYS_RESOURCE podman's defaults (1048576 for both) cannot be set: runc says "error setting rlimit type 6".
# podman itself runs with at most 32768 processes, so not ulimit -Hu either.
default_ulimits = ["nofile=$nofile:$nofile", "nproc=16384:16384"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
[network]
network_backend = "netavark"
X
    # An own storage.conf: without one podman 4.3.1 leaves an EMPTY /etc/containers/storage.conf and then dies of it.
    cat >"$d/storage.conf" <<X
[storage]
driver = "overlay"
graphroot = "$d/storage"
runroot = "$d/runroot"
X
    [ -z "${2:-}" ] || printf '[storage.options]\nadditionalimagestores = ["%s"]\n' "$2" >>"$d/storage.conf"
    cat >"$d/bin/docker" <<X
#!/bin/sh
# What vagrant calls: it must be ahead of any real docker on PATH.
export CONTAINERS_CONF=$d/containers.conf CONTAINERS_STORAGE_CONF=$d/storage.conf
exec /usr/bin/podman --tmpdir $d/tmp --network-config-dir $d/networks \\
    --volumepath $d/volumes "\$@"
X
    chmod 755 "$d/bin/docker"
}

# shellcheck shell=sh
# What every script of etcdup starts with. Scripts are constant: all they are told comes on standard input, its first
# line being `etcdup|1|STATE|CLUSTER|OPERATION|EPOCH|NOW_MS`. Paths hold no blanks, quotes or `|`, by type.
set -u
LC_ALL=C
export LC_ALL PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
umask 077

# A login shell may have printed before; what counts begins here.
echo '@etcdup'

b64() { base64 | tr -d '\n'; }
b64_of() { printf '%s' "$1" | b64; }

read_header() {
    IFS='|' read -r magic version state cluster operation epoch now || return 1
    [ "$magic|$version" = 'etcdup|1' ] || return 1
}

uptime_ms() {
    read -r up _ </proc/uptime
    echo "${up%.*}$(printf '%.2s' "${up#*.}00")0"
}

boot_id() { cat /proc/sys/kernel/random/boot_id; }

# The directory above: `/data` lies in `/`.
parent_of() {
    above=${1%/*}
    echo "${above:-/}"
}

# Directories that are missing above something of ours are for everybody to pass.
make_parents() { (umask 022 && mkdir -p "$1"); }

refused() { echo "@refused|$(b64_of "$1")"; }

# A directory of etcdup's own: another user's link or directory in its place is refused.
own_directory() {
    [ ! -L "$1" ] && mkdir -p "$1" && [ -O "$1" ]
}

# The lease file: operation|verb|epoch|who|since|boot|uptime_ms. Expired when the host booted since, or 30 s have gone.
read_lease() {
    [ -f "$state/lease" ] || return 1
    IFS='|' read -r l_operation l_verb l_epoch l_who l_since l_boot l_uptime <"$state/lease" || return 1
    [ -n "$l_uptime" ]
}

lease_expired() {
    [ "$l_boot" != "$(boot_id)" ] || [ "$(($(uptime_ms) - l_uptime))" -gt 30000 ]
}

# The etcd that runs on this data directory, whoever started it: a pod's is seen in /proc as any other.
etcd_of_data() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2>/dev/null) in */etcd | */etcd' (deleted)') ;; *) continue ;; esac
        if {
            tr '\0' '\n' <"$process/environ" | grep -qxF "ETCD_DATA_DIR=$1" ||
                tr '\0' '\n' <"$process/cmdline" | sed 's/^--*data-dir=//' | grep -qxF "$1"
        } 2>/dev/null; then
            echo "${process#/proc/}"
            return
        fi
    done
}

# Whichever runs containers here: containerd as the kubelet uses it, or podman.
has_image() {
    if command -v ctr >/dev/null 2>&1; then
        timeout 30 ctr --namespace k8s.io images ls -q 2>/dev/null | grep -qxF "$1"
    else
        timeout 30 podman image exists "$1" 2>/dev/null
    fi
}

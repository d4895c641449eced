# shellcheck shell=sh
# What every script of etcdup starts with. Scripts are constant: all they are told comes on standard input, its first
# line being `etcdup|1|STATE|CLUSTER|OPERATION|EPOCH|NOW_MS`. Paths hold no blanks, quotes or `|`, by type.
set -u
LC_ALL=C
export LC_ALL PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
umask 077

# A login shell may have printed before; what counts begins here.
echo '@etcdup'

# Not `echo`: dash's reads `\c`, `\n` and `\t` in what it prints, and names of users may hold a backslash.
say() { printf '%s\n' "$1"; }

b64() { base64 | tr -d '\n'; }
b64_of() { printf '%s' "$1" | b64; }

read_header() {
    IFS='|' read -r magic version state cluster operation epoch now || return 1
    [ "$magic|$version" = 'etcdup|1' ] || return 1
}

uptime_ms() {
    read -r up _ </proc/uptime
    say "${up%.*}$(printf '%.2s' "${up#*.}00")0"
}

boot_id() { read -r boot </proc/sys/kernel/random/boot_id && say "$boot"; }

# The directory above: `/data` lies in `/`.
parent_of() {
    above=${1%/*}
    say "${above:-/}"
}

# How many KiB are free where this is. A device may hold blanks in its name: what counts stands before the `N%`.
free_kib() { df -Pk "$1" | awk 'NR == 2 { sub(/ +([0-9]+%|-) .*/, ""); print $NF + 0 }'; }

# Directories that are missing above something of ours are for everybody to pass.
make_parents() { (umask 022 && mkdir -p "$@"); }

# The newest of these files; nothing where there is none.
newest() {
    # shellcheck disable=SC2012
    ls -t -- "$@" 2>/dev/null | head -n 1
}

refused() { say "@refused|$(b64_of "$1")"; }

# A directory of etcdup's own: another user's link or directory in its place is refused.
own_directory() {
    [ ! -L "$1" ] && { [ -d "$1" ] || mkdir -p "$1"; } && [ -O "$1" ]
}

# The lease file: operation|verb|epoch|who|since|boot|uptime_ms. Expired when the host booted since, or 30 s have gone.
read_lease() {
    l_operation='' l_epoch=0 l_uptime=''
    [ -f "$state/lease" ] || return 1
    IFS='|' read -r l_operation l_verb l_epoch l_who l_since l_boot l_uptime <"$state/lease" || l_uptime=''
    # A file that is torn, or not of our making, holds nothing, and must not end the script that reads it.
    case ${l_epoch:-x}${l_uptime:-x} in *[!0-9]* | 0?*) l_operation='' l_epoch=0; return 1 ;; esac
}

lease_expired() {
    [ "$l_boot" != "$(boot_id)" ] || [ "$(($(uptime_ms) - l_uptime))" -gt 30000 ]
}

# Whether this process is an etcd: a replaced file is still what runs, and its name says so.
is_etcd() {
    # Its name first, which costs no program: every process of the host may be asked.
    { read -r comm <"/proc/${1:-0}/comm"; } 2>/dev/null && [ "$comm" = etcd ] || return 1
    case $(readlink "/proc/${1:-0}/exe" 2>/dev/null) in */etcd | */etcd' (deleted)') ;; *) return 1 ;; esac
}

# Whether this process is the etcd of this data directory: a process ID alone may have been given to another one since.
runs_on() { is_run_with "$1" "$2" data-dir DATA_DIR; }
# Whether it is the etcd that keeps its log here.
logs_to() { is_run_with "$1" "$2" wal-dir WAL_DIR; }

# Whether this process is an etcd with this directory: `is_run_with PID DIRECTORY FLAG VARIABLE`.
is_run_with() {
    is_etcd "$1" || return 1
    # Anyone can run a program of that name with that variable: it must be root's, or of the user whose data it is.
    whose=$(stat -c %u "/proc/$1" 2>/dev/null) || return 1
    [ "$whose" = 0 ] || [ "$whose" = "$(stat -L -c %u "$2" 2>/dev/null)" ] || return 1
    runs_in=$({
        tr '\n\0' '\v\n' <"/proc/$1/environ" | sed -n "s/^ETCD_$4=//p"
        tr '\n\0' '\v\n' <"/proc/$1/cmdline" | sed -n "s/^--*$3=//p; /^--*$3\$/ { n; p; }"
    } 2>/dev/null)
    # shellcheck disable=SC3013
    while IFS= read -r one; do
        # dash, bash and busybox have `-ef`.
        case $one in
        "$2") return 0 ;;
        # However it is written, and whatever links lead there, as the process sees it.
        /*) [ ! "/proc/$1/root$one" -ef "$2" ] || return 0 ;;
        ?*) [ ! "/proc/$1/cwd/$one" -ef "$2" ] || return 0 ;;
        esac
    done <<DIRECTORIES
$runs_in
DIRECTORIES
    return 1
}

# Whether a path leads through no link that somebody else could have put there: one lies in a directory of root's only.
leads_safely() {
    walked='' rest=${1#/}
    while [ -n "$rest" ]; do
        above=${walked:-/}
        walked=$walked/${rest%%/*}
        { [ ! -L "$walked" ] || [ -O "$above" ]; } || { echo "$walked is a link in a directory of another user"; return 1; }
        case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
    done
}

# The etcd that runs on this data directory, no matter what started it: a pod's is in /proc as any other.
etcd_of_data() { etcd_that runs_on "$1"; }
etcd_of_log() { etcd_that logs_to "$1"; }
etcd_that() {
    for process in /proc/[0-9]*; do
        ! "$1" "${process#/proc/}" "$2" || { say "${process#/proc/}"; return; }
    done
}

# Runs a command inside a fresh directory of root's below another one, which may belong to another user: `in_fresh DIR NAME
# COMMAND...`. Whatever that user puts in the way, the command's working directory is the one made here, in which nobody else
# writes, so relative names are safe. Opening a file by a name in the user's directory is not: shells' `set -C` is O_EXCL for
# ordinary files only, and follows a link to a device.
in_fresh() {
    (
        cd -P "$1/" && above=$(pwd -P) && name=$2 && shift 2 || exit 1
        [ -d "$name" ] || mkdir -m 700 "$name" || exit 1
        cd -P "$name" && [ "$(pwd -P)" = "${above%/}/$name" ] && [ -O . ] || exit 1
        "$@"
    )
}

# Whichever runs containers here: containerd as the kubelet uses it, or podman.
has_image() {
    if command -v ctr >/dev/null 2>&1; then
        timeout 30 ctr --namespace k8s.io images ls -q 2>/dev/null | grep -qxF "$1"
    else
        timeout 30 podman image exists "$1" 2>/dev/null
    fi
}

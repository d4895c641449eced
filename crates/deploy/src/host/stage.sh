# shellcheck shell=sh
# Carries out one stage: a tar on standard input behind the header, holding `sums`, `ops`, `queries` and files `f/N`.
# It is checked whole before anything is done; a stream cut at any byte changes nothing. Then each operation is one line,
# `N|verb|fields`, reported as `@ok|N` or `@fail|N|status|last lines in base64`; the first that fails is the last.
# Once the input is complete the script runs to its end, even when the link dies.

unpack() {
    own_directory "$state" || refuse "cannot make $state, or it belongs to somebody else"
    work=$(mktemp -d "$state/in.XXXXXX") || refuse "cannot write below $state"
    trap 'rm -rf "$work"' EXIT
    tar -xf - -C "$work" 2>/dev/null || refuse 'the input was cut off'
    [ "$(tail -n 1 "$work/sums" 2>/dev/null)" = end ] || refuse 'the input was cut off'
    sed '$d' "$work/sums" >"$work/sums.list"
    (cd "$work" && sha256sum -c sums.list >/dev/null 2>&1) || refuse 'the input is damaged'
    [ "$(tail -n 1 "$work/ops")" = end ] || refuse 'the list of operations is cut off'
}

refuse() {
    refused "$1"
    exit 65
}

# Nobody else's script runs on this host, and the lease is ours: then a dead operator's last script ends before the
# successor's first write.
hold_stage_lock() {
    exec 9>"$state/stage.lock"
    timeout 120 flock 9 || refuse 'another stage has been running on this host for two minutes'
    read_lease || refuse 'the lease on this host is gone'
    [ "$l_operation|$l_epoch" = "$operation|$epoch" ] || refuse "the lease on this host belongs to $l_who"
    # A script that was cut off left its input behind, keys among it: whoever holds the lock sweeps.
    for left in "$state"/in.*; do
        [ "$left" = "$work" ] || rm -rf "$left"
    done
}

set_owner() { [ "$1" = - ] || chown "$1" "$2"; }

op_user() {
    id -u "$1" >/dev/null 2>&1 || useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
}

op_dir() {
    make_parents "$(parent_of "$3")" && mkdir -p "$3" && chmod "$1" "$3" && set_owner "$2" "$3"
}

# Written beside its target under a dot name, since a kubelet runs every other name in its directory.
staged_name() { echo "${1%/*}/.${1##*/}.etcdup"; }

op_file() {
    make_parents "$(parent_of "$4")" || return 1
    new=$(staged_name "$4")
    rm -f "$new"
    : >"$new" && set_owner "$3" "$new" && chmod "$2" "$new" && cat "$1" >"$new" || return 1
    pending="$pending $4"
}

op_commit() {
    news='' dirs=''
    for path in $pending; do news="$news $(staged_name "$path")"; done
    # shellcheck disable=SC2086
    sync $news || return 1
    for path in $pending; do
        mv -f "$(staged_name "$path")" "$path" || return 1
        dirs="$dirs $(parent_of "$path")"
        [ "$selinux" = no ] || restorecon "$path" || return 1
    done
    # shellcheck disable=SC2086
    sync $dirs
    pending=''
}

# Binaries go into a directory of their own version: the old one stays there to go back to.
op_binaries() {
    archive=$1 directory=$2 wanted=$3
    rm -rf "$directory.part"
    make_parents "$directory.part" || return 1
    timeout 300 tar -xzf "$archive" -C "$directory.part" --strip-components=1 --no-same-owner || return 1
    settle_binaries "$directory" "$wanted"
}

op_binary_file() {
    make_parents "$2.part" && cat "$1" >"$2.part/$3"
}

op_binaries_done() { settle_binaries "$1" "$2"; }

settle_binaries() {
    chmod 755 "$1.part"/etcd* || return 1
    found=$(timeout 20 "$1.part/etcd" --version 2>&1 | awk '/^etcd Version:/ { print $3 }')
    if [ "$found" != "$2" ]; then
        echo "the binary is etcd ${found:-for another machine}, wanted $2 for $(uname -m)"
        rm -rf "$1.part"
        rmdir "$(parent_of "$1")" 2>/dev/null
        return 1
    fi
    sync "$1.part"/etcd* || return 1
    if [ -d "$1" ]; then
        # A running etcd keeps its file: each is replaced by rename.
        for binary in "$1.part"/etcd*; do [ ! -f "$binary" ] || mv -f "$binary" "$1/" || return 1; done
        rm -rf "$1.part"
    else
        mv "$1.part" "$1" || return 1
    fi
    [ "$selinux" = no ] || restorecon -R "$1" || return 1
    unpacked=yes
    sync "$1" "$(parent_of "$1")"
}

op_links() {
    make_parents "$2" || return 1
    for binary in "$1"/etcd "$1"/etcdctl "$1"/etcdutl; do
        [ ! -f "$binary" ] || { ln -s "$binary" "$2/.${binary##*/}.etcdup" && mv -f "$2/.${binary##*/}.etcdup" "$2/${binary##*/}"; } || return 1
    done
}

op_fetch() {
    got=$work/fetched
    if command -v curl >/dev/null 2>&1; then
        timeout 600 curl --fail --silent --show-error --location --output "$got" "$1" || return 1
    else
        timeout 600 wget -q -O "$got" "$1" || return 1
    fi
    if ! echo "$2  $got" | sha256sum -c >/dev/null 2>&1; then
        echo "the archive has the wrong checksum: expected $2, found $(sha256sum "$got" | cut -d' ' -f1)"
        return 1
    fi
    op_binaries "$got" "$3" "$4"
}

# Whatever the host has; else chrony, by whatever installs packages here.
op_time_sync() {
    for service in $time_services; do
        case $(timeout 20 systemctl is-enabled "$service" 2>/dev/null) in
        enabled | disabled | static) ;;
        *) continue ;;
        esac
        # A unit whose conditions do not hold starts without a word and does not run.
        timeout 60 systemctl --quiet enable --now "$service" && systemctl is-active --quiet "$service" && return
    done
    if command -v apt-get >/dev/null 2>&1; then
        DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq install -y --no-install-recommends chrony
    elif command -v dnf >/dev/null 2>&1; then
        timeout 600 dnf -q -y install chrony
    elif command -v zypper >/dev/null 2>&1; then
        timeout 600 zypper --quiet --non-interactive install chrony
    else
        echo 'there is no chrony, ntp or systemd-timesyncd, and nothing here to install one with'
        return 1
    fi || return 1
    timeout 60 systemctl --quiet enable --now chrony || timeout 60 systemctl --quiet enable --now chronyd
}

op_reload() { timeout 60 systemctl daemon-reload; }
op_enable() { timeout 60 systemctl --quiet enable "$1"; }
op_restart() { timeout 60 systemctl reset-failed "$1" 2>/dev/null; timeout 60 systemctl restart --no-block "$1"; }
op_disable() {
    timeout 120 systemctl stop "$1" 2>/dev/null
    # What follows renames or deletes its data: not while it runs.
    case $(timeout 20 systemctl show --property=ActiveState --value "$1") in
    inactive | failed) ;;
    *) echo "$1 does not stop"; return 1 ;;
    esac
    [ ! -e "/etc/systemd/system/$1" ] || timeout 60 systemctl --quiet disable "$1"
}

# A process id may have been given to another program since: what counts is what it runs.
runs_etcd() {
    case $(readlink "/proc/${1:-0}/exe" 2>/dev/null) in */etcd | */etcd' (deleted)') ;; *) return 1 ;; esac
}

op_spawn() {
    ! runs_etcd "$(cat "$2" 2>/dev/null)" || return 0
    # A detached etcd must not keep the stage's lock: descriptor 9 is closed for it.
    setsid sh "$1" >>"$3" 2>&1 </dev/null 8<&- 9>&- &
    echo "$!" >"$2"
}

op_kill() {
    running=$(cat "$1" 2>/dev/null) || return 0
    runs_etcd "$running" || { rm -f "$1"; return 0; }
    kill "$running" 2>/dev/null
    tries=0
    while kill -0 "$running" 2>/dev/null; do
        [ "$tries" -lt 300 ] || kill -KILL "$running" 2>/dev/null
        tries=$((tries + 1))
        sleep 0.1 2>/dev/null || sleep 1
    done
    rm -f "$1"
}

# A link or a mount point stays where it is: what is in it is moved or deleted.
stays() {
    [ -L "$1" ] || [ "$(stat -c %d "$1")" != "$(stat -c %d "$(parent_of "$1")")" ]
}

of_directory() {
    directory=$1
    shift
    find "$directory/" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name '*.kept-*' "$@"
}

op_image() {
    if command -v ctr >/dev/null 2>&1; then
        timeout 300 ctr --namespace k8s.io images import "$1"
    elif command -v podman >/dev/null 2>&1; then
        timeout 300 podman load --quiet --input "$1"
    else
        echo 'there is neither ctr nor podman to load an image with'
        return 1
    fi
}

# The kubelet ends a pod some seconds after its manifest went. Where it does not, the manifest is put back: nothing is lost.
op_stop_pod() {
    aside=$(staged_name "$1")
    [ ! -f "$1" ] || mv -f "$1" "$aside" || return 1
    tries=0
    while [ -n "$(etcd_of_data "$2")" ]; do
        if [ "$tries" -ge 120 ]; then
            [ ! -f "$aside" ] || mv -f "$aside" "$1"
            echo 'its etcd still runs after two minutes: is there a kubelet?'
            return 1
        fi
        tries=$((tries + 1))
        sleep 1
    done
    rm -f "$aside"
    sync "$(parent_of "$1")"
}

op_bounce_pod() {
    copy=$work/manifest
    cp -p "$1" "$copy" && op_stop_pod "$1" "$2" || return 1
    new=$(staged_name "$1")
    cp -p "$copy" "$new" && sync "$new" && mv -f "$new" "$1" && sync "$(parent_of "$1")"
}

op_keep() {
    [ -e "$1" ] || return 0
    if stays "$1"; then
        aside=$1/${2##*/}
        mkdir "$aside" && of_directory "$1" -exec mv {} "$aside/" \; && sync "$1" "$aside"
    else
        mv "$1" "$2" && sync "$(parent_of "$1")"
    fi
}

op_remove() {
    if [ -d "$1" ] && stays "$1"; then
        of_directory "$1" -exec rm -rf {} +
    else
        rm -rf "$1"
    fi
}

# Notes the sum of each binary that was asked for, so that it need not be read again. Not in the stage that unpacks: the
# next one starts etcd, and reading tens of megabytes costs nothing while members elect.
note_binaries() {
    while IFS='|' read -r kind path _; do
        [ "$kind" = bin ] && [ -f "$path" ] || continue
        now_stat=$(stat -c '%s %Y %i' "$path")
        [ -z "$(noted_sum "$path" "$now_stat")" ] || continue
        echo "$path $(nice -n 19 sha256sum "$path" | cut -d' ' -f1) $now_stat" >>"$state/sums"
    done <"$work/queries"
}

run_operations() {
    pending='' unpacked=no
    while IFS='|' read -r number verb a b c d <&8; do
        [ "$number" != end ] || break
        # In this shell, not a subshell: `pending` must live on. The output goes to a file.
        case $verb in
        user | dir | commit | binaries | links | fetch | image | time_sync | reload | enable | restart | disable | spawn | kill | \
            stop_pod | bounce_pod | keep | remove | binary_file | binaries_done)
            "op_$verb" "$(payload "$a")" "$b" "$c" "$d" >"$work/said" 2>&1
            ;;
        file) op_file "$(payload "$a")" "$b" "$c" "$d" >"$work/said" 2>&1 ;;
        *) echo "unknown operation $verb" >"$work/said"; false ;;
        esac
        status=$?
        if [ "$status" -ne 0 ]; then
            echo "@fail|$number|$status|$(tail -n 12 "$work/said" | b64)" || :
            return 1
        fi
        echo "@ok|$number" || :
    done 8<"$work/ops"
}

# `f/N` is a file of the input; anything else is itself.
payload() {
    case $1 in
    f/*) echo "$work/$1" ;;
    *) echo "$1" ;;
    esac
}

main() {
    read_header || refuse 'the input has no header'
    unpack
    trap '' HUP PIPE INT TERM
    selinux=no
    { [ -e /sys/fs/selinux/enforce ] && command -v restorecon >/dev/null 2>&1; } && selinux=yes
    hold_stage_lock
    run_operations || :
    [ "$unpacked" = yes ] || note_binaries
    flock -u 9
    echo '@observe' || :
    hash_unknown=no
    [ "$unpacked" = yes ] || hash_unknown=yes
    observe <"$work/queries" || :
}
main

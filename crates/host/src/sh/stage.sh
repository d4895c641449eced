# shellcheck shell=sh
# Carries out one stage: a tar on standard input behind the header, holding `sums`, `ops`, `queries` and files `f/N`.
# It is checked whole before anything is done; a stream cut at any byte changes nothing. Then each operation is one line,
# `N|verb|fields`, reported as `@ok|N` or `@fail|N|status|last lines in base64`; the first that fails is the last. `@alive` is
# said while one works that may take long.
# Once the input is complete the script runs to its end, even when the link dies.

# The signals that a dying link sends are ignored once the input is whole, and what is run here inherits that: busybox' timeout
# would ask in vain.
bounded() { timeout -s KILL "$@" 7>&-; }

unpack() {
    own_directory "$state" || refuse "cannot make $state, or it is owned by another user"
    read -r fresh </proc/sys/kernel/random/uuid
    work=$state/in.$fresh
    mkdir "$work" || refuse "cannot write below $state"
    trap 'rm -rf "$work"' EXIT
    # Without this dash and busybox leave what was unpacked so far, keys among it, when the link dies.
    trap 'exit 129' HUP PIPE INT TERM
    # Files are as new as they are here: a member that began before one was written has not read it.
    tar -xmf - -C "$work" 2>/dev/null || refuse 'the input was cut off'
    closed=no
    while read -r line; do
        if [ "$line" = end ]; then closed=yes; else closed=no; say "$line"; fi
    done <"$work/sums" >"$work/sums.list" || closed=no
    [ "$closed" = yes ] || refuse 'the input was cut off'
    (cd "$work" && sha256sum -c sums.list >/dev/null 2>&1) || refuse 'the input is damaged'
    last=''
    while read -r line; do last=$line; done <"$work/ops"
    [ "$last" = end ] || refuse 'the list of operations is cut off'
}

refuse() {
    refused "$1"
    exit 65
}

# No other script runs on this host, and the lease is ours: then a dead operator's last script ends before the
# successor's first write.
hold_stage_lock() {
    exec 9>"$state/stage.lock"
    # Free as a rule: then there is nothing to bound.
    flock -n 9 || bounded 120 flock 9 || refuse 'another stage has been running on this host for two minutes'
    read_lease || refuse 'the lease on this host is gone'
    [ "$l_operation|$l_epoch" = "$operation|$epoch" ] || refuse "the lease on this host is held by $l_who"
    # An operator that was asleep may still hold the lease here and have lost others meanwhile.
    ! lease_expired || refuse 'the lease on this host has expired'

    # A script that was cut off left its input behind, keys among it: whoever holds the lock sweeps.
    for left in "$state"/in.*; do
        [ "$left" = "$work" ] || rm -rf "$left"
    done
}

# Follows a link: a data directory may be one to a larger disk, in a directory that only root writes.
set_owner() { [ "$1" = - ] || chown "$1" "$2"; }

op_user() {
    [ -z "$(passwd_of "$1")" ] || return 0
    # A group of that name without a user is what an uninstalled package leaves.
    group=--user-group
    ! has_group "$1" || group="--gid $1"
    # shellcheck disable=SC2086
    useradd --system $group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
}

has_group() {
    while IFS=: read -r g_name _ || [ -n "$g_name" ]; do
        [ "$g_name" != "$1" ] || return 0
    done </etc/group
    getent group "$1" >/dev/null 2>&1
}

op_dir() {
    leads_safely "$3" || return 1
    [ -d "$(parent_of "$3")" ] || make_parents "$(parent_of "$3")" || return 1
    if [ -d "$3" ]; then chmod "$1" "$3"; else mkdir -m "$1" "$3"; fi && set_owner "$2" "$3"
}

# Written beside its target under a dot name, since a kubelet runs every other name in its directory.
staged_name() { say "${1%/*}/.${1##*/}.etcdup"; }

# Where files wait until they are put in place: a directory of root's beside them, under a dot name.
waiting=.etcdup-new

# `file|SOURCE|MODE|OWNER|TARGET` waits for `commit`. What came with the input lies in a directory of its own under its
# target's name, so that many are copied by one program.
op_file() {
    source=$1
    case $source in
    "$work"/f/*/"${4##*/}") ;;
    *)
        source=$work/c/$number/${4##*/}
        mkdir -p "${source%/*}" && cat "$1" >"$source" || return 1
        ;;
    esac
    pending="$pending $2|$3|$source|$4"
}

# The files of a stage that belong together: copied beside their targets with their modes and owners, in directories where
# nobody else can look, synced, and only then renamed back to back.
op_commit() {
    parents='' missing='' rooms=''
    for entry in $pending; do
        ! is_own "$entry" || continue
        parent=$(parent_of "${entry##*|}")
        leads_safely "$parent" || return 1
        add_to parents "$parent"
        [ -d "$parent" ] || add_to missing "$parent"
    done
    # shellcheck disable=SC2086
    [ -z "$missing" ] || make_parents $missing || return 1
    for parent in $parents; do [ -e "$parent/$waiting" ] || rooms="$rooms $parent/$waiting"; done
    # Made by one program; whether each is root's own is asked where it is entered.
    # shellcheck disable=SC2086
    [ -z "$rooms" ] || mkdir -m 700 $rooms || return 1
    for parent in $parents; do
        in_fresh "$parent" "$waiting" take_in "$parent" || { echo "cannot write files into $parent"; return 1; }
    done
    written=''
    for entry in $pending; do
        path=${entry##*|} source=${entry%|*}
        if is_own "$entry"; then
            written="$written ${source##*|}"
        else
            written="$written $(parent_of "$path")/$waiting/${path##*/}"
        fi
    done
    # shellcheck disable=SC2086
    sync $written || return 1
    for parent in $parents; do in_fresh "$parent" "$waiting" put_in_place "$parent" || return 1; done
    for entry in $pending; do
        path=${entry##*|} source=${entry%|*}
        ! is_own "$entry" || mv -fT "${source##*|}" "$path" || return 1
    done
    if [ "$selinux" = yes ]; then
        for entry in $pending; do restorecon "${entry##*|}" || return 1; done
    fi
    # shellcheck disable=SC2086
    sync $parents "$state"
    drop_waiting
}

# Whether a file is etcdup's own, as the host record is: it goes into the directory above this stage's, where nobody else
# writes, and is as it should be already, so it is renamed from here.
is_own() {
    case $1 in
    '600|-|'*) [ "$(parent_of "${1##*|}")" = "$state" ] ;;
    *) return 1 ;;
    esac
}

# Adds a word to the list in a variable, once.
add_to() {
    eval "list=\$$1"
    case " $list " in *" $2 "*) ;; *) eval "$1=\"\$list $2\"" ;; esac
}

# In the waiting directory: what belongs into the directory above, by one program for each mode and owner.
take_in() {
    kinds=''
    for entry in $pending; do
        [ "$(parent_of "${entry##*|}")" != "$1" ] || { kind=${entry%|*}; add_to kinds "${kind%|*}"; }
    done
    for kind in $kinds; do
        sources='' owner=${kind#*|}
        for entry in $pending; do
            path=${entry##*|} kind_of=${entry%|*}
            { [ "$(parent_of "$path")" = "$1" ] && [ "${kind_of%|*}" = "$kind" ]; } || continue
            sources="$sources ${kind_of##*|}"
        done
        # shellcheck disable=SC2086
        case $owner in
        -) install -m "${kind%%|*}" $sources . ;;
        *) install -m "${kind%%|*}" -o "${owner%%:*}" -g "${owner#*:}" $sources . ;;
        esac || return 1
    done
    # The same content keeps its time: etcd reads some files only when it starts, and a newer one asks for a restart.
    for entry in $pending; do
        path=${entry##*|} name=${entry##*/}
        { [ "$(parent_of "$path")" = "$1" ] && [ -f "../$name" ]; } || continue
        # Of a unit systemd says by itself whether it has read it.
        case $name in *.service) continue ;; esac
        ! bounded 20 cmp -s "$name" "../$name" || touch -r "../$name" "$name" || return 1
    done
}

put_in_place() {
    names=''
    for entry in $pending; do
        path=${entry##*|}
        [ "$(parent_of "$path")" != "$1" ] || names="$names ${path##*/}"
    done
    # shellcheck disable=SC2086
    mv -f $names ..
}

# Takes away what waits and was not put in place: keys among it, after an operation that failed.
drop_waiting() {
    left=''
    for entry in $pending; do
        is_own "$entry" || add_to left "$(parent_of "${entry##*|}")/${waiting:?}"
    done
    # shellcheck disable=SC2086
    [ -z "$left" ] || rm -rf $left
    pending=''
}

# Binaries go into a directory of their own version: the old one stays there to go back to.
op_binaries() {
    archive=$1 directory=$2 wanted=$3
    [ ! -e "$directory.part" ] || rm -rf "$directory.part"
    make_parents "$directory.part" || return 1
    bounded 300 tar -xzf "$archive" -C "$directory.part" --strip-components=1 --no-same-owner || return 1
    settle_binaries "$directory" "$wanted"
}

op_binary_file() {
    # The first of them starts over: a run that was cut off may have left others.
    [ "$3" != etcd ] || rm -rf "$2.part"
    make_parents "$2.part" && cat "$1" >"$2.part/$3"
}

op_binaries_done() { chmod 755 "$1.part"/etcd* && settle_binaries "$1" "$2"; }

# The release that a binary says it is.
version_of() {
    bounded 20 "$1" --version 2>&1 | while read -r one two three; do
        [ "$one $two" != 'etcd Version:' ] || say "$three"
    done
}

settle_binaries() {
    # An archive made on another system may not say that they can be run.
    for binary in "$1.part"/etcd*; do [ -x "$binary" ] || chmod 755 "$binary" || return 1; done
    found=$(version_of "$1.part/etcd")
    if [ "$found" != "$2" ]; then
        echo "the binary is etcd ${found:-that does not run on this architecture}, wanted $2 for $(uname -m)"
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

# What is no link was put there by another hand, and stays.
op_links() {
    [ -d "$2" ] || make_parents "$2" || return 1
    new=''
    for binary in "$1"/etcd "$1"/etcdctl "$1"/etcdutl; do
        link=$2/${binary##*/}
        [ -f "$binary" ] || continue
        if [ -L "$link" ]; then
            # One that leads elsewhere is replaced by rename: at no moment is there none.
            ln -sfn "$binary" "$2/.${binary##*/}.etcdup" && mv -fT "$2/.${binary##*/}.etcdup" "$link" || return 1
        elif [ ! -e "$link" ]; then
            new="$new $binary"
        fi
    done
    # shellcheck disable=SC2086
    [ -z "$new" ] || ln -s $new "$2/"
}

op_fetch() {
    got=$work/fetched
    if command -v curl >/dev/null 2>&1; then
        bounded 600 curl --fail --silent --show-error --location --output "$got" "$1" || return 1
    else
        bounded 600 wget -q -O "$got" "$1" || return 1
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
        case $(bounded 20 systemctl is-enabled "$service" 2>/dev/null) in
        enabled | disabled | static) ;;
        *) continue ;;
        esac
        # A unit whose conditions do not hold starts without a word and does not run.
        bounded 60 systemctl --quiet enable --now "$service" && systemctl is-active --quiet "$service" && return
    done
    # A package manager that is killed leaves its database half-changed: it is asked.
    if command -v apt-get >/dev/null 2>&1; then
        DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq install -y --no-install-recommends chrony 7>&-
    elif command -v dnf >/dev/null 2>&1; then
        timeout 600 dnf -q -y install chrony 7>&-
    elif command -v zypper >/dev/null 2>&1; then
        timeout 600 zypper --quiet --non-interactive install chrony 7>&-
    else
        echo 'there is no chrony, ntp or systemd-timesyncd, and nothing here to install one with'
        return 1
    fi || return 1
    bounded 60 systemctl --quiet enable --now chrony || bounded 60 systemctl --quiet enable --now chronyd
}

op_reload() { bounded 60 systemctl daemon-reload; }
# Reads all units again too.
op_enable() { bounded 60 systemctl --quiet enable "$1"; }
# Neither waits for the unit, and the bus has a limit of its own, 25 s. A unit that has processes has not failed.
op_restart() {
    started=yes
    has_processes "$1" || systemctl reset-failed "$1" 2>/dev/null
    systemctl restart --no-block "$1"
}

has_processes() {
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        { read -r _ <"$hierarchy/system.slice/$1/cgroup.procs"; } 2>/dev/null && return 0
    done
    return 1
}
op_disable() {
    bounded 120 systemctl stop "$1" 2>/dev/null
    # What follows renames or deletes its data: not while it runs.
    case $(bounded 20 systemctl show --property=ActiveState --value "$1") in
    inactive | failed) ;;
    *) echo "$1 does not stop"; return 1 ;;
    esac
    # A unit of a package's lies elsewhere than ours, and would start at the next boot all the same.
    case $(bounded 20 systemctl show --property=LoadState --value "$1") in
    not-found | masked) ;;
    *) bounded 60 systemctl --quiet disable "$1" ;;
    esac
}

op_spawn() {
    started=yes
    ! runs_on "$(cat "$2" 2>/dev/null)" "$4" || return 0
    # A detached etcd must not keep the stage's lock: descriptor 9 is closed for it.
    setsid sh "$1" >>"$3" 2>&1 </dev/null 7>&- 8<&- 9>&- &
    say "$!" >"$2"
}

# A process that has ended and was not reaped yet still takes signals; what it ran can no longer be read.
op_kill() {
    running=$(cat "$1" 2>/dev/null) || return 0
    runs_on "$running" "$2" || { rm -f "$1"; return 0; }
    kill "$running" 2>/dev/null
    began=$(uptime_ms)
    while is_etcd "$running"; do
        [ "$(($(uptime_ms) - began))" -lt 30000 ] || kill -KILL "$running" 2>/dev/null
        [ "$(($(uptime_ms) - began))" -lt 60000 ] || { echo "process $running does not end"; return 1; }
        sleep 0.1 2>/dev/null || sleep 1
    done
    rm -f "$1"
}

op_image() {
    if command -v ctr >/dev/null 2>&1; then
        bounded 300 ctr --namespace k8s.io images import "$1"
    elif command -v podman >/dev/null 2>&1; then
        bounded 300 podman load --quiet --input "$1"
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
            echo 'its etcd still runs after 2 min; is the kubelet running?'
            return 1
        fi
        tries=$((tries + 1))
        sleep 1
    done
    rm -f "$aside"
    sync "$(parent_of "$1")"
}

# A kubelet restarts an etcd that has ended within seconds, and backs off only after several failures.
op_bounce_pod() {
    tries=0
    while [ "$3" = ended ] && [ "$tries" -lt 15 ]; do
        [ -z "$(etcd_of_data "$2")" ] || return 0
        tries=$((tries + 1))
        sleep 1
    done
    copy=$work/manifest
    cp -p "$1" "$copy" && op_stop_pod "$1" "$2" || return 1
    new=$(staged_name "$1")
    cp -p "$copy" "$new" && sync "$new" && mv -f "$new" "$1" && sync "$(parent_of "$1")"
}

# Notes the sum of each binary that was asked for, so that it need not be read again. Not in the stage that unpacks: the
# next one starts etcd, and reading tens of megabytes costs nothing while members elect.
note_binaries() {
    while IFS='|' read -r kind path _; do
        [ "$kind" = bin ] && [ -f "$path" ] || continue
        [ "$unpacked" = yes ] || ! is_noted "$path" || continue
        now_stat=$(stat -c '%s %Y %i' "$path")
        [ -z "$(noted_sum "$path" "$now_stat")" ] || continue
        sum=$(nice -n 19 sha256sum "$path")
        say "$path ${sum%% *} $now_stat" >>"$state/sums"
    done <"$work/queries"
}

is_noted() {
    [ -f "$state/sums" ] || return 1
    while read -r s_path _; do
        [ "$s_path" != "$1" ] || return 0
    done <"$state/sums"
    return 1
}

run_operations() {
    pending='' unpacked=no started=no
    # What an operation says goes to a file; that it works, to whoever waits.
    exec 7>&1
    # Whoever takes the lease later knows by it whether a stage ran, or ended, since it looked.
    say "$fresh runs" >"$state/last"
    while IFS='|' read -r number verb a b c d <&8; do
        [ "$number" != end ] || break
        # In this shell, not a subshell: `pending` must live on. The output goes to a file.
        case $verb in
        user | dir | commit | binaries | links | fetch | image | time_sync | reload | enable | restart | disable | spawn | kill | \
            stop_pod | bounce_pod | mark | restore | can_force | force_new | room | room_log | move | move_log | keep | remove | binary_file | binaries_done)
            "op_$verb" "$(payload "$a")" "$b" "$c" "$d" >"$work/said" 2>&1
            ;;
        file) op_file "$(payload "$a")" "$b" "$c" "$d" >"$work/said" 2>&1 ;;
        *) echo "unknown operation $verb" >"$work/said"; false ;;
        esac
        status=$?
        if [ "$status" -ne 0 ]; then
            say "@fail|$number|$status|$(tail -n 12 "$work/said" | b64)" || :
            drop_waiting
            return 1
        fi
        say "@ok|$number" || :
    done 8<"$work/ops"
}

# `f/N` is a file of the input; anything else is itself.
payload() {
    case $1 in
    f/*) say "$work/$1" ;;
    *) say "$1" ;;
    esac
}

main() {
    read_header || refuse 'the input has no header'
    unpack
    trap '' HUP PIPE INT TERM
    selinux=no
    { [ -e /sys/fs/selinux/enforce ] && command -v restorecon >/dev/null 2>&1; } && selinux=yes
    hold_stage_lock
    ended=failed
    run_operations && ended=well
    # What starts is left alone to elect: reading its binaries costs nothing then.
    [ "$unpacked$started" = yesno ] || note_binaries
    say "$fresh ended" >"$state/last"
    # Whoever waits for the stage lock goes on.
    exec 9>&-
    # Where what comes of the stage takes a while, it is looked at then.
    if [ "$ended" = well ] && [ -f "$work/later" ]; then echo '@later' || :; return; fi
    echo '@observe' || :
    hash_unknown=no
    [ "$unpacked$started" = yesno ] || hash_unknown=yes
    observe <"$work/queries" || :
}
main

# shellcheck shell=sh
# What a stage does to the data of members: marks it, moves it, keeps it under another name, deletes it.

# Marks a data directory, where a directory that is emptied and filled again by etcd has no mark: inside `member`, which is
# what people delete, and before that in a log that is elsewhere. Written as any file in a directory that another user owns.
op_mark() {
    for place in ${3:+"$3/wal"} "$1/member"; do
        [ -d "$place" ] && [ ! -L "$place" ] || { echo "$place is missing"; return 1; }
        put_mark "$place" "$2" || return 1
    done
}

put_mark() { in_fresh "$1" "$waiting" new_mark "$2" && rm -rf "$1/${waiting:?}"; }

new_mark() {
    (umask 022 && say "$1" >mark) && sync mark && mv -fT mark ../.etcdup-mark && sync ..
}

# Runs a program for as long as it gets on, however slow the disk and large the database: whoever waits hears that it works.
steadily() {
    # What others write keeps a `sync` from being seen to hang.
    if [ "$1" = sync ]; then begin 3600 "$@"; else begin 21600 "$@"; fi
    while goes_on; do :; done
    # What hangs on a disk cannot be killed either, and is not waited for.
    [ -z "$stuck" ] || { say "given up: $stuck"; return 1; }
    wait "$working"
}

# Begins what may take so many seconds. Where this shell is killed it is killed too: nobody else would know of it.
begin() {
    longest=$1 began=$(uptime_ms) stuck='' before=''
    looked=$began idle=0
    shift
    doing=$1
    "$@" 2>&1 7>&- 8<&- 9>&- &
    working=$!
    # This very shell: `$$` is the first of all where this is in parentheses.
    read -r mine _ </proc/self/stat
    end_with "$mine" "$working" &
}

# Whether it works still. It is looked at every five seconds, and given up once 30 looks have found nothing done: that is not
# counted by the clock, for a machine that slept.
goes_on() {
    kill -0 "$working" 2>/dev/null || return 1
    ticks=$(uptime_ms)
    if [ "$((ticks - looked))" -ge 5000 ]; then
        looked=$ticks
        say '@alive' >&7 || :
        after=$(done_so_far)
        if [ "$after" = "$before" ]; then idle=$((idle + 1)); else idle=0; fi
        before=$after
    fi
    if [ "$idle" -ge 30 ]; then
        stuck='for 150 s it read, wrote and computed nothing'
    elif [ "$((ticks - began))" -ge "${longest}000" ]; then
        stuck="it did not end within $((longest / 60)) min"
    else
        sleep 0.1 2>/dev/null || sleep 1
        return 0
    fi
    kill -KILL "$working" 2>/dev/null
    return 1
}

# What it has read, written and computed. For what `sync` waits the kernel writes itself, for others too.
done_so_far() {
    [ "$doing" != sync ] || grep -E '^(Dirty|Writeback|WritebackTmp|NFS_Unstable):' /proc/meminfo
    cat "/proc/$working/io" 2>/dev/null
    cut -d ' ' -f 14,15 "/proc/$working/stat" 2>/dev/null
}

# Kills the second process once the first is gone. A program of its own: a shell that was redirected keeps what it had before,
# and ssh waits for whoever holds that. Each is known by its start too, for numbers are used again.
end_with() {
    # shellcheck disable=SC2016
    exec sh -c 'born() { cut -d " " -f 22 "/proc/$1/stat" 2>/dev/null; }
        since=$(born "$2")
        while [ -e "/proc/$2/exe" ] && [ "$(born "$2")" = "$since" ]; do
            [ -e "/proc/$1/exe" ] || kill -KILL "$2"
            sleep 1
        done' end "$@" </dev/null >/dev/null 2>&1 7>&- 8<&- 9>&-
}

# A link or a mount point stays where it is: what is in it is moved or deleted.
stays() {
    [ ! -L "$1" ] && [ "$(stat -c %d "$1")" = "$(stat -c %d "$(parent_of "$1")")" ] || return 0
    # A bind mount of the same device.
    real=$(cd -P "$1" && pwd -P) && awk -v p="$real" '$5 == p { f = 1 } END { exit !f }' /proc/self/mountinfo
}

# Whether there is more in a data directory than etcd's own, such as a backup, or the data of another cluster below it.
holds_more() {
    [ -n "$(find "$1/" -mindepth 1 -maxdepth 1 ! -name "$(held_in "$1")" ! -name wal.tmp ! -name '.etcdup-*' | head -n 1)" ]
}

# Whether no etcd runs on this data, or keeps its log here, whoever started it: one whose unit or pid file is gone is found by
# its directories only.
is_idle() {
    running=''
    [ ! -d "$1/member" ] || running=$(etcd_of_data "$1")
    [ -n "$running" ] || [ ! -d "$1/wal" ] || running=$(etcd_of_log "$1/wal")
    # The log of a member is inside its data where it has no place of its own.
    [ -n "$running" ] || [ "${1##*/}" != member ] || running=$(etcd_of_data "${1%/*}")
    [ -z "$running" ] || { echo "etcd (process $running) still runs on $1"; return 1; }
}

# What of a member this directory holds: its data, or nothing but its log.
held_in() { if has_segments "$1/wal"; then say wal; else say member; fi; }

op_keep() {
    [ -e "$1" ] || return 0
    is_idle "$1" || return 1
    if stays "$1" || holds_more "$1"; then
        # Into a directory of root's: its owner could put a link in the place of any other.
        in_fresh "$1" "${2##*/}" keep_held "$(held_in "$1")" "$(stat -L -c %u:%g "$1")" && sync "$1"
    else
        mv "$1" "$2" && sync "$(parent_of "$1")"
    fi
}

keep_held() { mv -t . "../$1" && sync . && chown "$2" .; }

# The mount that a directory is on: within one a rename works, between two of one file system it does not.
mount_of() {
    real=$(cd -P "$1" && pwd -P) || return 1
    awk -v p="$real" '{
        m = $5
        if ((p == m || m == "/" || index(p, m "/") == 1) && length(m) >= most) { most = length(m); id = $1 }
    } END { print id }' /proc/self/mountinfo
}

# Nothing is changed: what is in the way, or has no room, is known while the member still runs.
op_room() { room_for member "$@"; }
op_room_log() { room_for wal "$@"; }

room_for() {
    if [ -L "$2/$1" ] || { [ -d "$2/$1" ] && stays "$2/$1"; }; then
        echo "$2/$1 is a link or a mount point of its own: put what is in it there yourself, while the member is stopped"
        return 1
    fi
    is_free_for "$1" "$3" || is_unfinished "$3" "$1" || { echo "there is something in the way in $3"; return 1; }
    near=$(nearest_directory "$3")
    [ "$(mount_of "$2/$1")" = "$(mount_of "$near")" ] || has_room "$1" "$2" "$3" "$near"
}

# Whether nothing is in the way of what goes into a directory. A log may go into the data that it belongs to.
is_free_for() {
    case $1/${2##*/} in
    wal/member) [ ! -L "$2/wal" ] && [ -z "$(ls -A "$2/wal" 2>/dev/null)" ] ;;
    wal/*) [ ! -e "$2" ] || { ! has_segments "$2/wal" && holds_no_log "$2"; } ;;
    *) [ ! -e "$2" ] || is_empty "$2" ;;
    esac
}

# Whether a copy fits, and a few segments of the log, for it grows: `has_room NAME FROM TO NEAR`. What a run that was cut has
# copied is deleted first.
has_room() {
    used=$(bounded 60 du -sk "$2/$1/" | cut -f1) && [ -n "$used" ] || { echo "cannot find out how large $2/$1 is"; return 1; }
    free=$(free_kib "$4")
    [ ! -d "$3/$1" ] || free=$((free + $(bounded 60 du -sk "$3/$1/" | cut -f1)))
    [ "${free:-0}" -gt "$((used + 262144))" ] || {
        echo "$2/$1 takes $((used / 1024)) MiB, and $((${free:-0} / 1024)) MiB are free for $3"
        return 1
    }
}

# Whether a rename works from a directory into another, which is root's: where it does a link does too. A mount does not say
# it: there are volumes and quotas below one.
can_rename() {
    rm -f "$1/.etcdup-probe" "$2/.etcdup-probe"
    : >"$2/.etcdup-probe" && ln "$2/.etcdup-probe" "$1/.etcdup-probe" 2>/dev/null && linked=yes || linked=no
    rm -f "$2/.etcdup-probe"
    [ "$linked" = yes ] && rm -f "$1/.etcdup-probe"
}

# `move|FROM|TO|OWNER|TIME`. A rename where that works; else a copy, and what it was copied from is kept there. Until that is
# renamed the copy counts for nothing, whenever this is cut. Whose it becomes is settled before: from then on it may start.
op_move() { move_held member "$@"; }
op_move_log() { move_held wal "$@"; }

move_held() {
    held=$1 from=$2 to=$3 whose=$4 time_of=$5
    if [ "$from" != "$to" ] && [ -e "$from/$held" ]; then
        [ -d "$from/$held" ] && [ ! -L "$from/$held" ] || { echo "$from/$held is no directory"; return 1; }
        is_idle "$from" || return 1
        # From here on nobody else puts anything in its way.
        within=$to
        [ "${to##*/}" != member ] || within=${to%/*}
        op_dir 700 - "$within" && keep_others_out "$within" || return 1
        [ "$within" = "$to" ] || keep_others_out "$to" || return 1
        room_for "$held" "$from" "$to" || return 1
        # A log that leaves the data takes its mark along: from then on both have it.
        mark=''
        [ "$held" = member ] || mark=$(mark_of "$from")
        [ -z "$mark" ] || put_mark "$from/wal" "$mark" || return 1
        rm -rf "${to:?}/$held"
        if can_rename "$from" "$to"; then
            rm -f "$to/.etcdup-copy"
            give_to "$whose" "$from/$held" && mv -T "$from/$held" "$to/$held" || return 1
        else
            has_room "$held" "$from" "$to" "$to" || return 1
            say "$from|$time_of" >"$to/.etcdup-copy.new" && sync "$to/.etcdup-copy.new" || return 1
            mv -fT "$to/.etcdup-copy.new" "$to/.etcdup-copy" && sync "$to" || return 1
            steadily cp -a "$from/$held" "$to/" || { echo "cannot copy $from/$held to $to"; return 1; }
            give_to "$whose" "$to/$held" && steadily sync -f "$to/$held" || return 1
            mv -T "$from/$held" "$from/$held.kept-$time_of" && sync "$from" || return 1
        fi
        sync "$from" "$to"
    fi
    [ -d "$to/$held" ] || { echo "there is no $held in $to"; return 1; }
    is_idle "$to" && give_to "$whose" "$to/$held" || return 1
    is_unfinished "$to" "$held" || rm -f "$to/.etcdup-copy" || return 1
    { [ "$selinux" = no ] || restorecon -R "$to"; } && op_dir 700 "$whose" "$to" || return 1
    # The directory that held it, where nothing else is in it.
    [ "$from" = "$to" ] || [ ! -d "$from" ] || rmdir "$from" 2>/dev/null || :
}

# `restore|SNAPSHOT|TOOLS|DATA|LOG|OWNER|NAME|TOKEN|PEER_URL|LIST|BUMP`: etcd's own tool makes a member's data of a snapshot, in
# a fresh directory of root's beside its place. Its log is put in place first: without data it counts for nothing.
op_restore() {
    snapshot=$1 tools=$2 to=$3
    IFS='|' read -r log whose who token url list bump <<REST
$4
REST
    tool=$tools/etcdutl
    [ -x "$tool" ] || tool=$tools/etcdctl
    [ -x "$tool" ] || { echo "neither etcdutl nor etcdctl is in $tools"; return 1; }
    is_idle "$to" || return 1
    [ ! -e "$to/member" ] || { echo "there is data in $to"; return 1; }
    [ "$log" = - ] || is_idle "$log" || return 1
    op_dir 700 "$whose" "$to" || return 1
    in_fresh "$to" "$waiting" restore_here || { rm -rf "${to:?}/${waiting:?}"; return 1; }
    rm -rf "${to:?}/${waiting:?}"
    { [ "$selinux" = no ] || restorecon -R "$to"; } && sync "$to"
}

restore_here() {
    rm -rf made
    set -- --name "$who" --initial-cluster "$list" --initial-cluster-token "$token" --initial-advertise-peer-urls "$url"
    [ "$bump" = 0 ] || set -- "$@" --bump-revision "$bump" --mark-compacted
    # No variable of the caller's may change what the tool does.
    steadily env -i "PATH=$PATH" ETCDCTL_API=3 "$tool" snapshot restore "$snapshot" --data-dir made "$@" || {
        echo "${tool##*/} could not restore it"
        return 1
    }
    [ -d made/member/wal ] && [ -d made/member/snap ] || { echo "${tool##*/} made no data"; return 1; }
    if [ "$log" != - ]; then
        op_dir 700 "$whose" "$log" || return 1
        # Without data it is what a restore left that was cut off.
        [ ! -e "$log/wal" ] || mv -T "$log/wal" "$log/wal.kept-$(date -u +%Y%m%dT%H%M%SZ)" || return 1
        in_fresh "$log" "$waiting" log_here "$PWD/made/member/wal" && rm -rf "${log:?}/${waiting:?}" made/member/wal || return 1
    fi
    give_to "$whose" made/member && steadily sync -f made/member && mv -T made/member ../member && sync ..
}

# The disk of the log may be another one.
log_here() {
    rm -rf wal && steadily cp -a "$1" wal && give_to "$whose" wal && steadily sync -f wal && mv -T wal ../wal && sync ..
}

# `force_new|DATA|BINARIES|TIME|LOG|OWNER|NAME`: a copy of a member's data is made to name it as the only member, by an etcd that
# runs for as long as that takes and that nobody can reach. Only when that has ended well does the copy take the place of the
# data, which is kept. What was cut off in between is finished, and begun again before that.
op_force_new() {
    to=$1 etcd=$2/etcd time_of=$3
    IFS='|' read -r log whose who <<FORCE
$4
FORCE
    [ -x "$etcd" ] || { echo "there is no etcd in $2"; return 1; }
    is_idle "$to" || return 1
    [ "$log" = - ] || is_idle "$log" || return 1
    if [ -d "$to/member" ] && { [ "$log" = - ] || [ -d "$log/wal" ]; }; then
        rm -rf "${to:?}/${waiting:?}"
        can_be_copied "$to" "$log" || return 1
        in_fresh "$to" "$waiting" force_here || { rm -rf "${to:?}/${waiting:?}"; return 1; }
    fi
    [ -f "$to/$waiting/forced" ] && [ ! -L "$to/$waiting" ] || { echo "there is no data in $to"; return 1; }
    in_fresh "$to" "$waiting" take_over || return 1
    rm -rf "${to:?}/${waiting:?}"
    { [ "$selinux" = no ] || restorecon -R "$to"; } && sync "$to"
}

# The same, while it may still run, and nothing is done. A pod's etcd is fetched later, and its directory is made then.
op_can_force() {
    [ ! -d "$2" ] || [ -x "$2/etcd" ] || { echo "there is no etcd in $2"; return 1; }
    IFS='|' read -r log _ <<FORCE
$4
FORCE
    can_be_copied "$1" "$log"
}

# A link would lead from the copy to the data itself, and a mount point cannot be renamed.
can_be_copied() {
    held_log=$1/member/wal
    [ "$2" = - ] || held_log=$2/wal
    for held in "$1/member" "$1/member/snap" "$held_log"; do
        [ ! -L "$held" ] && [ -d "$held" ] || { echo "$held is a link, or no directory"; return 1; }
        ! stays "$held" || { echo "$held is a mount point: put what is in it into the directory above it"; return 1; }
    done
    link=$(find "$1/member" -type l | head -n 1)
    [ -z "$link" ] || { echo "$link is a link: put what it leads to in its place"; return 1; }
    has_room member "$1" "$1/$waiting" "$1" || return 1
    [ "$2" = - ] || has_room wal "$2" "$2/$waiting" "$2"
}

# The name of a log's last segment; it is there as long as it is one of the last five.
last_segment() {
    last=''
    for segment in "$1"/*.wal; do [ ! -f "$segment" ] || last=${segment##*/}; done
    [ -n "$last" ] && say "$last"
}

# The head of a segment says whose the log is: the observe script reads it too.
metadata_in() { od -An -v -tx1 -N 64 "$1"; }

force_here() {
    mkdir made && steadily cp -a "$to/member" made/ || { echo "cannot copy $to/member"; return 1; }
    if [ "$log" != - ]; then
        steadily cp -a "$log/wal" made/member/wal || { echo "cannot copy $log/wal"; return 1; }
    fi
    # Without a log etcd would begin another cluster.
    segment=$(last_segment made/member/wal) || { echo "there is no log in the copy of $to/member"; return 1; }
    whose_log=$(metadata_in "made/member/wal/$segment")
    # Sockets in a directory of root's, so that nobody asks it anything; and no quota: reaching it would raise an alarm that stays.
    set -- --name "$who" --data-dir made --force-new-cluster --quota-backend-bytes=-1 \
        --listen-client-urls unix://client:1 --advertise-client-urls unix://client:1 --listen-peer-urls unix://peer:1
    # One that never serves computes all the same, so that only the time tells.
    begin 1200 env -i "PATH=$PATH" "$etcd" "$@" >console
    until grep -q 'ready to serve client requests' console; do
        goes_on && continue
        tail -n 10 console
        say "etcd did not come up on a copy of the data${stuck:+: $stuck}"
        return 1
    done
    kill -TERM "$working"
    while goes_on; do :; done
    [ -z "$stuck" ] || { say "etcd does not end: $stuck"; return 1; }
    # It ends itself by the signal once it has closed its data.
    wait "$working"
    case $? in
    0 | 143) ;;
    *) tail -n 10 console; echo 'etcd did not end well on a copy of the data'; return 1 ;;
    esac
    [ "$(metadata_in "made/member/wal/$segment")" = "$whose_log" ] || { echo 'etcd made another log of the copy'; return 1; }
    give_to "$whose" made/member && steadily sync -f made/member && : >forced && sync forced . made
}

# Each step is one that a run which was cut off may have taken already.
take_over() {
    if [ "$log" != - ] && [ -d made/member/wal ]; then
        [ ! -e "$log/wal" ] || mv -T "$log/wal" "$log/wal.kept-$time_of" || return 1
        in_fresh "$log" "$waiting" log_here "$PWD/made/member/wal" && rm -rf "${log:?}/${waiting:?}" made/member/wal || return 1
    fi
    [ -d made/member ] || return 0
    if [ -e ../member ]; then
        # Into a directory of root's, beside what takes its place.
        in_fresh "$to" "${to##*/}.kept-$time_of" keep_held member "$(stat -L -c %u:%g "$to")" || return 1
    fi
    mv -T made/member ../member && sync ..
}

# A directory is root's until all is in it.
keep_others_out() { [ "$(own_uid)" != 0 ] || { [ ! -L "$1" ] && chown 0:0 "$1"; }; }

# Links are given away themselves, and lead nowhere else.
give_to() { [ "$1" = - ] || chown -hR "$1" "$2"; }

op_remove() {
    is_idle "$1" || return 1
    held=$(held_in "$1")
    if [ -d "$1/$held" ] && { stays "$1" || holds_more "$1"; }; then
        rm -rf "${1:?}/$held"
    else
        rm -rf "$1"
    fi
}

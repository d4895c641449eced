# shellcheck shell=sh
# What a stage does to the data of members: marks it, moves it, keeps it under another name, deletes it.

# Marks a data directory, where a directory that is emptied and filled again by etcd has no mark: inside `member`, which is
# what people delete. Written as any file in a directory that another user owns.
op_mark() {
    [ -d "$1/member" ] && [ ! -L "$1/member" ] || { echo "$1/member is missing"; return 1; }
    in_fresh "$1/member" "$waiting" new_mark "$2" && rm -rf "$1/member/${waiting:?}"
}

new_mark() {
    (umask 022 && say "$1" >mark) && sync mark && mv -fT mark ../.etcdup-mark && sync ..
}

# A link or a mount point stays where it is: what is in it is moved or deleted.
stays() {
    [ ! -L "$1" ] && [ "$(stat -c %d "$1")" = "$(stat -c %d "$(parent_of "$1")")" ] || return 0
    # A bind mount of the same device.
    real=$(cd -P "$1" && pwd -P) && awk -v p="$real" '$5 == p { f = 1 } END { exit !f }' /proc/self/mountinfo
}

# Whether there is more in a data directory than etcd's own, such as a backup, or the data of another cluster below it.
holds_more() {
    [ -n "$(find "$1/" -mindepth 1 -maxdepth 1 ! -name member ! -name '.etcdup-*' | head -n 1)" ]
}

# Whether no etcd runs on this data, whoever started it: one whose unit or pid file is gone is found by its data directory only.
is_idle() {
    [ -d "$1/member" ] || return 0
    running=$(etcd_of_data "$1")
    [ -z "$running" ] || { echo "etcd (process $running) still runs on $1"; return 1; }
}

op_keep() {
    [ -e "$1" ] || return 0
    is_idle "$1" || return 1
    if stays "$1" || holds_more "$1"; then
        # Into a directory of root's: its owner could put a link in the place of any other.
        in_fresh "$1" "${2##*/}" keep_member "$(stat -L -c %u:%g "$1")" && sync "$1"
    else
        mv "$1" "$2" && sync "$(parent_of "$1")"
    fi
}

keep_member() { mv -t . ../member && sync . && chown "$1" .; }

# The mount that a directory is on: within one a rename works, between two of one file system it does not.
mount_of() {
    real=$(cd -P "$1" && pwd -P) || return 1
    awk -v p="$real" '{
        m = $5
        if ((p == m || m == "/" || index(p, m "/") == 1) && length(m) >= most) { most = length(m); id = $1 }
    } END { print id }' /proc/self/mountinfo
}

# Nothing is changed: what is in the way, or has no room, is known while the member still runs.
op_room() {
    is_empty "$2" || [ ! -e "$2" ] || is_unfinished "$2" || { echo "$2 is not empty"; return 1; }
    near=$(nearest_directory "$2")
    [ "$(mount_of "$1/member")" = "$(mount_of "$near")" ] || has_room "$1/member" "$2" "$near"
}

# Whether a copy fits, and a few segments of the log, for it grows. What a run that was cut has copied is deleted first.
has_room() {
    used=$(bounded 60 du -sk "$1/" | cut -f1) && [ -n "$used" ] || { echo "cannot find out how large $1 is"; return 1; }
    free=$(df -Pk "$3" | awk 'NR == 2 { print $4 }')
    [ ! -d "$2/member" ] || free=$((free + $(bounded 60 du -sk "$2/member/" | cut -f1)))
    [ "${free:-0}" -gt "$((used + 262144))" ] || {
        echo "the data takes $((used / 1024)) MiB, and $((${free:-0} / 1024)) MiB are free for $2"
        return 1
    }
}

# Whether a rename works from a directory into another, which is root's: where it does a link does too. A mount does not say
# it: there are volumes and quotas below one.
can_rename() {
    : >"$2/.etcdup-probe" && ln "$2/.etcdup-probe" "$1/.etcdup-probe" 2>/dev/null && linked=yes || linked=no
    rm -f "$2/.etcdup-probe"
    [ "$linked" = yes ] && rm -f "$1/.etcdup-probe"
}

# `move|FROM|TO|OWNER|TIME`. A rename where that works; else a copy, and what it was copied from is kept there. Until that is
# renamed the copy counts for nothing, whenever this is cut. Whose it becomes is settled before: from then on it may start.
op_move() {
    if [ "$1" != "$2" ] && [ -e "$1/member" ]; then
        [ -d "$1/member" ] && [ ! -L "$1/member" ] || { echo "$1/member is no directory"; return 1; }
        is_idle "$1" && op_dir 700 - "$2" || return 1
        # From here on nobody else puts anything in its way.
        [ "$(own_uid)" != 0 ] || chown 0:0 "$2" || return 1
        op_room "$1" "$2" || return 1
        rm -rf "$2/member"
        if can_rename "$1" "$2"; then
            rm -f "$2/.etcdup-copy"
            give_to "$3" "$1/member" && mv -T "$1/member" "$2/member" || return 1
        else
            has_room "$1/member" "$2" "$2" || return 1
            say "$1|$4" >"$2/.etcdup-copy" && sync "$2/.etcdup-copy" "$2" || return 1
            bounded 900 cp -a "$1/member" "$2/" || { echo "copying $1/member to $2 did not end well within 15 min"; return 1; }
            give_to "$3" "$2/member" && bounded 120 sync || return 1
            mv -T "$1/member" "$1/member.kept-$4" && sync "$1" || return 1
        fi
        sync "$1" "$2"
    fi
    [ -d "$2/member" ] || { echo "there is no data in $2"; return 1; }
    is_idle "$2" && give_to "$3" "$2/member" || return 1
    is_unfinished "$2" || rm -f "$2/.etcdup-copy" || return 1
    { [ "$selinux" = no ] || restorecon -R "$2"; } && op_dir 700 "$3" "$2" || return 1
    [ "$1" = "$2" ] || [ ! -d "$1" ] || rmdir "$1" 2>/dev/null || :
}

# Links are given away themselves, and lead nowhere else.
give_to() { [ "$1" = - ] || chown -hR "$1" "$2"; }

op_remove() {
    is_idle "$1" || return 1
    if [ -d "$1/member" ] && { stays "$1" || holds_more "$1"; }; then
        rm -rf "$1/member"
    else
        rm -rf "$1"
    fi
}

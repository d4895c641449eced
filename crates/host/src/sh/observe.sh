# shellcheck shell=sh
# Answers queries about a host as records, `key|field|field`, free text percent-encoded, closed by
# `end|COUNT`. It leaves nothing behind; only the measurement of a disk writes a file, and takes it
# away. Queries, one a line: tool, image, user, file, dir, link, bin, text, cert, member, data, disk,
# every, time, port, name, reverse.

observe_queries() {
    files='' dirs='' links='' bins='' texts='' certs='' members='' datas='' disks='' every='' time='' ports='' names='' reverses='' users=''
    while IFS='|' read -r kind one two three; do
        case $kind in
        end) break ;;
        image) ! has_image "$one" || field image "$one" ;;
        tool) command -v "$one" >/dev/null 2>&1 || rec "missing|$one" ;;
        user) users="$users $one" ;;
        file) files="$files $one" ;;
        dir) dirs="$dirs $one" ;;
        link) links="$links $one" ;;
        bin) bins="$bins $one" ;;
        text) texts="$texts $one" files="$files $one" ;;
        cert) certs="$certs $one" files="$files $one" ;;
        member) members="$members $one|$two|$three" ;;
        data) datas="$datas $one${two:+|$two}${three:+|$three}" ;;
        disk) disks="$disks $one|$two" ;;
        every) every=$one ;;
        time) time=$one ;;
        port) ports="$ports $one|$two" ;;
        name) names="$names $one" ;;
        reverse) reverses="$reverses $one" ;;
        esac
    done
}

# The user that runs this, as the kernel says.
own_uid() {
    while read -r key _ uid _; do
        [ "$key" != Uid: ] || break
    done </proc/self/status
    say "$uid"
}

# A user's line of /etc/passwd, by name or number. Where users come from elsewhere too, such as LDAP, `getent` asks there.
passwd_of() {
    while IFS= read -r line || [ -n "$line" ]; do
        IFS=: read -r p_name _ p_uid _ <<LINE
$line
LINE
        if [ "$p_name" = "$1" ] || [ "$p_uid" = "$1" ]; then say "$line"; return; fi
    done </etc/passwd 2>/dev/null
    ! has_further passwd || timeout 10 getent passwd "$1" 2>/dev/null
}

# Whether a database of names has a source besides the files.
has_further() {
    [ -f /etc/nsswitch.conf ] || return 0
    further=yes
    while read -r key sources; do
        [ "$key" = "$1:" ] || continue
        further=no
        for word in $sources; do
            case $word in files | systemd) ;; *) further=yes ;; esac
        done
    done </etc/nsswitch.conf
    [ "$further" = yes ]
}

observe_system() {
    read -r machine </etc/machine-id || machine=
    read -r hostname </proc/sys/kernel/hostname
    read -r init </proc/1/comm
    { read -r arch </proc/sys/kernel/arch; } 2>/dev/null || arch=$(uname -m)
    clock=$(date +%s%N)
    case $clock in
    *[!0-9]*) clock=$(date +%s)000 ;;
    *) clock=${clock%??????} ;;
    esac
    uid=$(own_uid)
    rec "sys|$machine|$(boot_id)|$((clock - now))|$arch|$uid|$init"
    field hostname "$hostname"
    if command -v ip >/dev/null 2>&1; then
        batch addr
        ip -o addr show scope global
        end_batch
    fi
    batch resolver
    [ ! -f /etc/resolv.conf ] || while IFS= read -r line || [ -n "$line" ]; do say "$line"; done </etc/resolv.conf
    end_batch
    entry=$(passwd_of "${SUDO_USER:-$uid}")
    entry=${entry%:*}
    field home "${entry##*:}"
    for user in $users; do
        [ -z "$(passwd_of "$user")" ] || rec "user|$user"
    done
}

# Binaries are large: one that has the size, the time and the inode noted beside its sum is not read again.
noted_sum() {
    [ -f "$state/sums" ] || return 0
    noted=''
    while read -r s_path s_sum s_is; do
        [ "$s_path|$s_is" != "$1|$2" ] || noted=$s_sum
    done <"$state/sums"
    say "$noted"
}

# What of these is there, a link that leads nowhere too.
existing() {
    for path; do
        { [ ! -e "$path" ] && [ ! -L "$path" ]; } || printf '%s ' "$path"
    done
}

stat_format='%F|%a|%U:%G|%s|%Y|%i|%n|%N'

# Size, time and inode of one of the files in $stats.
identity_of() {
    while IFS='|' read -r _ _ _ s_size s_time s_inode s_path _; do
        [ "$s_path" != "$1" ] || { say "$s_size $s_time $s_inode"; return; }
    done <<STATS
$stats
STATS
}

observe_files() {
    # shellcheck disable=SC2086
    here=$(existing $links $files $bins) there=''
    # A directory may be a link to a larger disk: then it is looked at behind the link.
    for path in $dirs; do
        if [ -L "$path" ]; then there="$there $path"; elif [ -e "$path" ]; then here="$here $path"; fi
    done
    stats=''
    # shellcheck disable=SC2086
    [ -z "$here" ] || stats=$(stat -c "$stat_format" $here 2>/dev/null)
    ordinary=''
    # Not what would be waited for without end, such as a pipe.
    for path in $files; do [ ! -f "$path" ] || ordinary="$ordinary $path"; done
    batch sum
    for path in $bins; do
        { [ -f "$path" ] && [ ! -L "$path" ]; } || continue
        known=$(noted_sum "$path" "$(identity_of "$path")")
        if [ -n "$known" ]; then
            say "$known  $path"
        elif [ "${hash_unknown:-yes}" = yes ]; then
            ordinary="$ordinary $path"
        fi
    done
    # shellcheck disable=SC2086
    [ -z "$ordinary" ] || sha256sum $ordinary 2>/dev/null
    end_batch
    batch stat
    [ -z "$stats" ] || say "$stats"
    # shellcheck disable=SC2086
    [ -z "$there" ] || stat -L -c "$stat_format" $there 2>/dev/null
    end_batch
    for path in $texts; do [ ! -f "$path" ] || file_field f text "$path|$path"; done
    for path in $certs; do [ ! -f "$path" ] || file_field c cert "$path|$path"; done
}

# One unit as systemctl shows it, where one was read.
unit_shown() {
    [ -n "$u_id" ] || return 0
    # By the name that was asked for, which may be an alias.
    for u_name in $u_names; do
        case " $asked_units " in *" $u_name "*) u_id=$u_name ;; esac
    done
    rec "unit|$u_id|$u_sub|$u_enabled|$u_restarts|$u_reload"
    for drop_in in $u_drop_ins; do [ ! -f "$drop_in" ] || file_field d drop-in "$u_id|$drop_in|$drop_in"; done
    unit_pids="$unit_pids $u_id|$u_pid|$u_active/$u_sub"
}

# Sets `unit_pids`: of each unit its name, process and state.
observe_units() {
    unit_pids='' asked_units=$1 u_names=''
    { [ -n "$1" ] && command -v systemctl >/dev/null 2>&1; } || return 0
    # shellcheck disable=SC2086
    # The bus has a limit of its own, 25 s.
    shown=$(systemctl show \
        --property=Id,Names,ActiveState,SubState,UnitFileState,NRestarts,NeedDaemonReload,MainPID,DropInPaths $1 2>/dev/null) || {
        # Not the same as nothing that runs: the answer as a whole is spoilt.
        say 'systemctl gave no answer'
        return 0
    }
    u_id=''
    while IFS= read -r line; do
        case $line in
        '') unit_shown; u_id='' ;;
        Id=*) u_id=${line#*=} ;;
        Names=*) u_names=${line#*=} ;;
        ActiveState=*) u_active=${line#*=} ;;
        SubState=*) u_sub=${line#*=} ;;
        UnitFileState=*) u_enabled=${line#*=} ;;
        NRestarts=*) u_restarts=${line#*=} ;;
        NeedDaemonReload=*) u_reload=${line#*=} ;;
        MainPID=*) u_pid=${line#*=} ;;
        DropInPaths=*) u_drop_ins=${line#*=} ;;
        esac
    done <<SHOWN
$shown

SHOWN
}

# A member's process, by its unit or its pid file; what is not etcd is not a member.
observe_members() {
    pids=''
    units=''
    for entry in $members; do
        case $entry in *'|unit|'*) units="$units ${entry##*|}" ;; esac
    done
    observe_units "$units"
    for entry in $members; do
        name=${entry%%|*} rest=${entry#*|}
        how=${rest%%|*} where=${rest#*|} after='' pid='' state_now=''
        # A pod's data directory, then its manifest; a process's pid file, then its data directory.
        [ "$how" = unit ] || { after=${where#*|} where=${where%%|*}; }
        case $how in
        unit)
            for shown in $unit_pids; do
                [ "${shown%%|*}" = "$where" ] || continue
                shown=${shown#*|} pid=${shown%%|*} state_now=${shown#*|}
            done
            ;;
        pod) pid=$(etcd_of_data "$where") ;;
        *)
            [ ! -f "$where" ] || read -r pid <"$where" || pid=${pid:-}
            # After a reboot the pid file may hold the process ID of another member.
            runs_on "${pid:-0}" "$after" || pid=
            ;;
        esac
        exe=$(readlink "/proc/${pid:-0}/exe" 2>/dev/null) || exe=
        # A replaced file is still what runs, and says so by its name: `/opt/.../etcd (deleted)`.
        file=${exe% (deleted)}
        if [ "${file##*/}" = etcd ]; then
            pids="$pids $name"
            rec "proc|$name|$pid"
            field "exe|$name" "$exe"
            open_field "command|$name"
            tr '\0' '\n' <"/proc/$pid/cmdline"
            close_field
            open_field "variables|$name"
            # A new line in a value must not begin a variable of its own.
            tr '\n\0' '\v\n' <"/proc/$pid/environ"
            close_field
            written=''
            [ "$how" != pod ] || written=$(stat -c %Y "$after" 2>/dev/null)
            printf '%s\n' "$nonce w$name|$pid|$written"
        fi
        case $how/$state_now in
        unit/active/running | unit/inactive/*) ;;
        unit/?*)
            open_field "log|$name"
            # A refused flag is followed by all of the usage, which is indented.
            timeout 20 journalctl --unit="$where" --lines=60 --no-pager --output=cat 2>/dev/null |
                grep -v -e '^Usage:' -e '^  ' -e '^$' | tail -n 12
            close_field
            ;;
        pod/*) [ -n "$exe" ] || pod_log "$name" "$after" ;;
        file/*)
            [ -n "$exe" ] || [ ! -f "${where%.pid}.log" ] || {
                open_field "log|$name"
                tail -c 16384 "${where%.pid}.log" | tail -n 12
                close_field
            }
            ;;
        esac
    done
}

# What a pod printed last, in the kubelet's own files; where it never came to that, what the kubelet says of it: an image
# that cannot be pulled is known within seconds.
pod_log() {
    last=$(newest /var/log/pods/*etcd*/etcd/*.log)
    pod=${2##*/}
    lines=$({
        timeout 20 journalctl --unit=kubelet --lines=400 --no-pager --output=cat 2>/dev/null |
            grep -F -e "${pod%.yaml}" | grep -iE 'err|fail|back-off' | tail -n 4
        # A panic's own line comes before its stack.
        [ -z "$last" ] || { grep -hE 'panic|fatal' "$last" | tail -n 3; tail -c 16384 "$last" | tail -n 12; }
    })
    [ -z "$lines" ] || field "log|$1" "$lines"
}

# What is nothing of etcd's and nothing of anyone's.
is_leftover() {
    case ${1##*/} in lost+found | *.kept-* | .etcdup-fsync.* | .etcdup-probe | .etcdup-copy.new) return 0 ;; *) return 1 ;; esac
}

# Every name counts, a link that leads nowhere too: its disk may only be missing.
is_empty() {
    [ -d "$1" ] || return 1
    for inside in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        { [ ! -e "$inside" ] && [ ! -L "$inside" ]; } || is_leftover "$inside" || return 1
    done
}

# What may keep a clock right, by the names that distributions give it.
time_services='chrony chronyd ntpsec ntp ntpd systemd-timesyncd'

observe_time() {
    [ -n "$time" ] || return 0
    for service in $time_services; do
        ! systemctl is-active --quiet "$service" 2>/dev/null || { rec "time|$service"; return; }
    done
}

# The release of a process, where it runs a file of this host's own that only root may change: nothing else is run as root just
# to ask for its version, least of all what a container brought along. It is opened once, and what was judged is what runs: a
# path could lead elsewhere a moment later.
version_of_process() {
    { exec 7<"/proc/$1/exe"; } 2>/dev/null || return 0
    judged=$(stat -L -c '%d:%i %U %a' /proc/self/fd/7 2>/dev/null)
    case $judged in
    "$(stat -L -c '%d:%i' "$2" 2>/dev/null) root "*[2367]? | "$(stat -L -c '%d:%i' "$2" 2>/dev/null) root "*[2367]) ;;
    "$(stat -L -c '%d:%i' "$2" 2>/dev/null) root "*)
        timeout 10 /proc/self/fd/7 --version 2>/dev/null | awk '/^etcd Version:/ { print $3 }'
        ;;
    esac
    exec 7<&-
}

# Every etcd that runs here, with the unit or the manifest that started it: for clusters that were made by other means.
observe_every() {
    [ "$every" = etcd ] || return 0
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        is_etcd "$pid" || continue
        exe=$(readlink "$process/exe" 2>/dev/null) || continue
        unit=$(sed -n 's|.*/\([^/]*\.service\)$|\1|p' "$process/cgroup" 2>/dev/null | head -n 1)
        data=$({ tr '\0' '\n' <"$process/environ" | sed -n 's/^ETCD_DATA_DIR=//p'
            tr '\0' '\n' <"$process/cmdline" | sed -n 's/^--*data-dir=//p'; } 2>/dev/null | head -n 1)
        manifest='' image=''
        for file in /etc/kubernetes/manifests/*.yaml; do
            [ -n "$data" ] && grep -qF -e "$data" "$file" 2>/dev/null || continue
            grep -qE '(command|args):|ETCD_' "$file" && manifest=$file
            image=$(sed -n 's/^[- ]*image: *//p' "$file" | head -n 1 | tr -d "\"'")
        done
        version=$(version_of_process "$pid" "$exe")
        rec "etcd|$pid|$(stat -c %U "$process")|$manifest"
        field "etcd-unit|$pid" "$unit"
        field "etcd-exe|$pid" "$exe"
        open_field "etcd-command|$pid"
        tr '\0' '\n' <"$process/cmdline" 2>/dev/null
        close_field
        open_field "etcd-variables|$pid"
        tr '\n\0' '\v\n' <"$process/environ" 2>/dev/null
        close_field
        field "etcd-version|$pid" "$version"
        field "etcd-image|$pid" "$image"
        [ -z "$manifest" ] || file_field f etcd-manifest "$pid|$manifest"
    done
}

# A first start that failed leaves a database behind, with no member in it, and never wrote a log: etcd starts on it as on an
# empty directory. Its size says nothing, since it is allocated beforehand; a real one names members with their peer URLs.
never_joined() {
    db=$1/member/snap/db
    [ -f "$db" ] && [ ! -L "$1/member" ] && [ ! -e "$1/member/.etcdup-mark" ] || return 1
    for inside in "$1"/* "$1"/.[!.]* "$1"/..?* "$1"/member/* "$1"/member/.[!.]* "$1"/member/snap/* "$1"/member/snap/.[!.]* \
        "$1"/member/wal/* "$1"/member/wal/.[!.]*; do
        { [ -e "$inside" ] || [ -L "$inside" ]; } || continue
        case ${inside#"$1"} in
        /member | /member/snap | /member/wal | /member/snap/db) ;;
        *) is_leftover "$inside" || return 1 ;;
        esac
    done
    timeout 60 grep -qa peerURLs "$db"
    # Only a search that came to its end has found nothing.
    [ $? -eq 1 ]
}

# Whether what is here is a copy of something that was not renamed yet, such as `member`: then it counts for nothing.
is_unfinished() {
    [ -f "$1/.etcdup-copy" ] && [ ! -L "$1/.etcdup-copy" ] || return 1
    copied=$(head_of "$1/.etcdup-copy" 4096)
    [ -n "$copied" ] && [ ! -d "${copied%|*}/$2.kept-${copied##*|}" ]
}

# What a directory holds of a log, which is called `wal`: in a data directory's `member` other things are as they should be.
log_state() {
    if [ -L "$1" ] && [ ! -e "$1" ]; then
        # Its disk may only be missing.
        say foreign
    elif [ ! -e "$1" ]; then
        say absent
    elif is_unfinished "$1" wal; then
        # The disk that it was copied from may only be missing.
        if [ -d "${copied%|*}/wal" ]; then nothing_of_log "$1"; else say foreign; fi
    elif has_segments "$1/wal"; then
        say log
    elif [ "${1##*/}" = member ] || holds_no_log "$1"; then
        nothing_of_log "$1"
    else
        say foreign
    fi
}

nothing_of_log() { if [ "${1##*/}" = member ]; then say absent; else say empty; fi; }

has_segments() {
    for segment in "$1"/*.wal; do [ ! -f "$segment" ] || return 0; done
    return 1
}

# Nothing but what a first start leaves that was cut before it wrote a log.
holds_no_log() {
    [ -d "$1" ] || return 1
    for inside in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        { [ -e "$inside" ] || [ -L "$inside" ]; } || continue
        case ${inside##*/} in
        wal | wal.tmp) holds_pieces "$inside" || return 1 ;;
        *) is_leftover "$inside" || return 1 ;;
        esac
    done
}

# Whether all in a directory is what etcd calls its segments, or prepares them by: it deletes the whole directory itself.
holds_pieces() {
    [ -d "$1" ] && [ ! -L "$1" ] || return 1
    for piece in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        { [ -e "$piece" ] || [ -L "$piece" ]; } || continue
        case ${piece##*/} in *.wal | *.tmp) ;; *) return 1 ;; esac
    done
}

# Without any file of the kind the pattern itself is what is given.
newest_there() { [ ! -e "$1" ] || newest "$@"; }

observe_data() {
    for entry in $datas; do
        path=${entry%%|*} log='' logs=$entry
        while [ "$logs" != "${logs#*|}" ]; do
            logs=${logs#*|} place=${logs%%|*}
            state_of=$(log_state "$place")
            rec "log-in|$place|$state_of"
            [ "$state_of" != log ] || [ -n "$log" ] || log=$place/wal
        done
        if [ -L "$path" ] && [ ! -e "$path" ]; then
            # Its disk may only be missing.
            rec "data|$path|foreign|"
        elif [ ! -e "$path" ]; then
            rec "data|$path|absent|"
        elif is_unfinished "$path" member; then
            # The disk that it was copied from may only be missing.
            if [ -d "${copied%|*}/member" ]; then rec "data|$path|empty|"; else rec "data|$path|foreign|"; fi
        elif is_empty "$path" || { [ -z "$log" ] && never_joined "$path"; }; then
            rec "data|$path|empty|"
        else
            head=''
            for segment in "$log"/*.wal; do
                [ -z "$log" ] || [ ! -f "$segment" ] || head=$(head_of "$segment" | od -An -v -tx1)
                break
            done
            if [ -n "$head" ]; then field "data|$path|member" "$head"; else rec "data|$path|foreign|"; fi
            last=$(newest_there "$path"/member/snap/*.snap)
            [ -z "$last" ] || rec "raft-snapshot|$path|$(stat -c %Y "$last" 2>/dev/null)"
            # A mark is a short line; anything else in its place is not read as root.
            mark=$path/member/.etcdup-mark
            { [ -f "$mark" ] && [ ! -L "$mark" ]; } || continue
            # A log elsewhere has the same, or it is an old one, or one that etcd has begun on an empty disk.
            case $log in '' | "$path"/*) ;; *) [ "$(mark_of "$log")" = "$(mark_of "$path/member")" ] || continue ;; esac
            open_field "mark|$path"
            head_of "$mark"
            close_field
        fi
    done
}

# The mark in a directory of a member's; nothing where there is none.
mark_of() { { [ -f "$1/.etcdup-mark" ] && [ ! -L "$1/.etcdup-mark" ] && head_of "$1/.etcdup-mark"; } || :; }

# The first 64 bytes of a file, or as many as are asked for, that another user may replace by a link or a pipe at any moment. busybox' dd knows neither flag:
# there a time limit has to do.
head_of() {
    dd if="$1" iflag=nofollow,nonblock bs="${2:-64}" count=1 2>/dev/null || timeout 5 head -c "${2:-64}" "$1" 2>/dev/null
}

nearest_directory() {
    near=$1
    while [ ! -d "$near" ]; do near=${near%/*}; [ -n "$near" ] || near=/; done
    say "$near"
}

observe_disks() {
    paths='' nearest=''
    for entry in $disks; do
        path=${entry%%|*} near=$(nearest_directory "${entry%%|*}")
        paths="$paths $path" nearest="$nearest $near"
        { [ "${entry#*|}" = measure ] && [ ! -e "$path/member" ]; } || continue
        fsync=$(measure_fsync "$near")
        [ -z "$fsync" ] || rec "fsync|$path|$fsync"
    done
    [ -n "$paths" ] || return 0
    batch "disk$paths"
    # shellcheck disable=SC2086
    df -Pk $nearest 2>/dev/null
    end_batch
}

# The mean of fifty writes of 4 KiB, each waited for, in microseconds.
measure_fsync() {
    for left in "$1"/.etcdup-fsync.*; do
        [ ! -d "$left" ] || find "$left" -maxdepth 0 -mmin +5 -exec rm -rf {} + 2>/dev/null
    done
    in_fresh "$1" ".etcdup-fsync.$$" fsync_time 2>/dev/null
    rm -rf "$1/.etcdup-fsync.$$"
}

fsync_time() {
    took=$(timeout 10 dd if=/dev/zero of=probe bs=4096 count=50 oflag=dsync 2>&1) || return 1
    # `204800 bytes (205 kB, 200 KiB) copied, 0.0123 s, 16.6 MB/s`; busybox says `seconds`.
    took=${took##*copied, } took=${took%% s*}
    case $took in
    *[!0-9.]* | *.*.* | '') return 1 ;;
    *.*) fraction=${took#*.}000000 ;;
    *) fraction=000000 ;;
    esac
    fraction=$(printf '%.6s' "$fraction")
    # The digits behind a 1, or leading zeros would make it octal.
    say "$(((${took%%.*} * 1000000 + 1$fraction - 1000000) / 50))"
}

observe_ports() {
    for entry in $ports; do
        runs=no
        case " $pids " in *" ${entry#*|} "*) runs=runs ;; esac
        printf '%s\n' "$nonce p${entry%%|*}|$runs"
    done
}

observe_names() {
    # All at once: a resolver that is dead costs its time only once.
    for name in $names; do
        field "name|$name" "$(first_lines "$(timeout 5 getent ahosts "$name" 2>/dev/null)")" &
    done
    for address in $reverses; do
        field "reverse|$address" "$(first_lines "$(timeout 5 getent hosts "$address" 2>/dev/null)")" &
    done
    wait
}

# As many whole lines as one write to a pipe holds, so that no answer cuts another.
first_lines() {
    if [ "${#1}" -le 3000 ]; then say "$1"; return; fi
    short=$(printf '%.3000s' "$1")
    say "${short%
*}"
}

observe_own() {
    for file in "$state"/*.json; do
        name=${file##*/} name=${name%.json}
        [ -f "$file" ] || continue
        if [ "$name" = "$cluster" ]; then file_field f record "$file"; else file_field f other "$name|$file"; fi
    done
    if [ -f "$state/last" ]; then
        read -r last <"$state/last"
        # One that was cut off never says that it ended; one that runs has the lock.
        case $last in *' runs') ! stage_lock_is_free || last="${last% runs} was cut off" ;; esac
        field last "$last"
    fi
    if read_lease; then
        held=held
        ! lease_expired || held=expired
        field "lease|$held" "$l_operation|$l_verb|$l_epoch|$l_who|$l_since"
    fi
}

stage_lock_is_free() { (exec 8<"$state/stage.lock" && flock -s -n 8) 2>/dev/null; }

observe() {
    read -r nonce </proc/sys/kernel/random/uuid
    {
        say "$nonce"
        observe_queries
        observe_system
        observe_files
        observe_members
        observe_every
        observe_time
        observe_data
        observe_disks
        observe_ports
        observe_names
        observe_own
        printf '%s\n' "$nonce z"
    } | awk "$report"
}

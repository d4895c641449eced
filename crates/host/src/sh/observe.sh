# shellcheck shell=sh
# Answers queries about a host as records, `key|field|field`, free text percent-encoded, closed by
# `end|COUNT`. It leaves nothing behind; only the measurement of a disk writes a file, and takes it
# away. Queries, one a line: tool, image, user, file, dir, link, bin, text, cert, member, data, disk,
# every, time, port, name, reverse.
#
# Starting a program costs more than anything else here, so the shell reads what it can by itself, and
# one awk at the end encodes, reads files and counts. What goes to it is a line of control or a line
# of text between two of them; every line of control begins with a word that nobody can know before:
# the text of a process or a file cannot pass for a record.

# A record whose fields are ours, or checked by type.
rec() { printf '%s\n' "$nonce r$1"; }
# A record whose last field is this text.
field() { printf '%s\n' "$nonce <$1" "$2" "$nonce >"; }
# The same for the output of what stands between them. What has no new line at its end gets one.
open_field() { printf '%s\n' "$nonce <$1"; }
close_field() { printf '\n%s\n' "$nonce >"; }
# A record whose last field is a file's text: whole, its certificates alone, or without comments.
file_field() { printf '%s\n' "$nonce $1$2|$3"; }

# Reads control lines and text, writes records.
# shellcheck disable=SC2016
report='
    function encoded(s) {
        gsub(/%/, "%25", s); gsub(/[|]/, "%7C", s); gsub(/\r/, "%0D", s); gsub(/\n/, "%0A", s)
        return s
    }
    function emit(record) { print record; count++ }
    # A file whole, what of it are certificates (a file may hold a key beside one), or what of it counts for systemd.
    function content(path, what,   line, out, inside, block) {
        out = ""
        while ((getline line < path) > 0) {
            if (what == "c") {
                # Whatever is not the base64 of a certificate between its own two lines stays here.
                if (line ~ /^-----BEGIN CERTIFICATE-----[ \t\r]*$/) { inside = 1; block = encoded(line) "%0A"; continue }
                if (!inside) continue
                if (line ~ /^-----END CERTIFICATE-----[ \t\r]*$/) { inside = 0; out = out block encoded(line) "%0A"; continue }
                if (line !~ /^[A-Za-z0-9+\/=]+[ \t\r]*$/) { inside = 0; continue }
                block = block encoded(line) "%0A"
                continue
            }
            if (what == "d" && line ~ /^[ \t]*([#;]|$)/) continue
            out = out encoded(line) "%0A"
        }
        close(path)
        return out
    }
    # A line of stat: kind, mode, owner, size, time, inode, path, and the path as `stat -c %N` shows a link.
    function stat_line(line,   f, n, kind, to) {
        n = split(line, f, "|")
        if (n < 8) { bad = 1; return }
        if (seen[f[7]]++) return
        kind = "other"
        if (f[1] ~ /^regular/) kind = "file"
        if (f[1] == "directory") kind = "dir"
        if (f[1] == "symbolic link") {
            to = line; sub(/^.* -> ./, "", to); sub(/.$/, "", to)
            emit("file|" f[7] "|link|777|-|0|" encoded(to) "|-")
        } else emit("file|" f[7] "|" kind "|" f[2] "|" f[3] "|" f[4] "|" (f[7] in sum ? sum[f[7]] : "-") "|" f[5])
    }
    function sum_line(line,   f, path) {
        sub(/^\\/, "", line)
        path = line; sub(/^[^ ]*  /, "", path)
        split(line, f, " ")
        sum[path] = f[1]
    }
    function listening(   line, f, a, n, path, i) {
        split("/proc/net/tcp /proc/net/tcp6", path, " ")
        for (i = 1; i <= 2; i++) {
            while ((getline line < path[i]) > 0) {
                split(line, f, " ")
                if (f[4] == "0A") { n = split(f[2], a, ":"); if (!(a[n] in inode)) inode[a[n]] = f[10] }
            }
            close(path[i])
        }
        listened = 1
    }
    # Of a member that runs it is enough to know that it listens: looking for the owner reads every process.
    function port(number, runs,   hex, pid, comm, line, f, p, command) {
        if (!listened) listening()
        hex = sprintf("%04X", number)
        if (!(hex in inode)) return
        if (runs) { emit("port|" number "|-|etcd"); return }
        command = "ls -l /proc/[0-9]*/fd 2>/dev/null"
        while ((command | getline line) > 0) {
            if (line ~ /^\/proc\//) split(line, p, "/")
            f[0] = line; sub(/^.* /, "", f[0])
            if (pid == "" && f[0] == "socket:[" inode[hex] "]") pid = p[3]
        }
        close(command)
        if (pid != "") { getline comm < ("/proc/" pid "/comm"); close("/proc/" pid "/comm") }
        emit("port|" number "|" (pid == "" ? "-" : pid) "|" encoded(comm))
    }
    # When a process began, in seconds since 1970: its stat counts ticks since the boot.
    function since(pid,   line, f, booted, path) {
        path = "/proc/" pid "/stat"
        if ((getline line < path) <= 0) return "-"
        close(path)
        sub(/^.*[)] /, "", line)
        split(line, f, " ")
        while ((getline booted < "/proc/stat") > 0) if (booted ~ /^btime /) break
        close("/proc/stat")
        sub(/^btime /, "", booted)
        return int(booted + f[20] / 100)
    }
    # A pod that began before its manifest was written is not the one that the manifest means.
    function started(member, began, written) {
        emit("since|" member "|" began "|" (written != "" && began != "-" && began + 1 < written ? "outdated" : ""))
    }
    # Not an argument: every user may read those of a process.
    NR == 1 { nonce = $0; length_of = length(nonce); next }
    index($0, nonce) == 1 {
        kind = substr($0, length_of + 2, 1); rest = substr($0, length_of + 3)
        if (kind == "<") { inside = 1; prefix = rest; body = ""; lines = 0 }
        else if (kind == ">") { emit(prefix "|" body); inside = 0 }
        else if (kind == "r") emit(rest)
        else if (kind == "f" || kind == "c" || kind == "d") {
            path = rest; sub(/^.*[|]/, "", path)
            emit(substr(rest, 1, length(rest) - length(path)) content(path, kind))
        }
        else if (kind == "b") { batch = rest; rows = 0 }
        else if (kind == "e") batch = ""
        else if (kind == "w") { split(rest, word, "|"); started(word[1], since(word[2]), word[3]) }
        else if (kind == "p") { split(rest, word, "|"); port(word[1], word[2] == "runs") }
        else if (kind == "z" && !bad) { print "end|" count + 0; exit }
        next
    }
    # Of a process, what etcd reads alone: its other variables may be secrets of others.
    inside && prefix ~ /^(etcd-)?variables[|]/ && !/^ETCD_/ { next }
    inside { body = body (lines++ ? "%0A" : "") encoded($0); next }
    batch == "stat" { stat_line($0); next }
    batch == "sum" { sum_line($0); next }
    # `df -P` prints a line for each path that it was given, in that order, below its head.
    batch ~ /^disk / {
        if (rows++) { split(batch, of, " "); emit("disk|" of[rows] "|" $(NF - 2) "|" encoded($1)) }
        next
    }
    batch == "addr" { if (split($4, a, "/")) emit("addr|" $2 "|" a[1]); next }
    batch == "resolver" { if ($1 == "nameserver") emit("resolver|" $2); next }
    # A line that nobody announced: then nothing of the answer can be trusted.
    { bad = 1 }
'
batch() { printf '%s\n' "$nonce b$1"; }
end_batch() { printf '%s\n' "$nonce e"; }

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
        data) datas="$datas $one" ;;
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

# A user's line of /etc/passwd, by name or number: most are there. Others come from elsewhere, such as LDAP.
passwd_of() {
    while IFS= read -r line || [ -n "$line" ]; do
        IFS=: read -r p_name _ p_uid _ <<LINE
$line
LINE
        if [ "$p_name" = "$1" ] || [ "$p_uid" = "$1" ]; then say "$line"; return; fi
    done </etc/passwd 2>/dev/null
    timeout 10 getent passwd "$1" 2>/dev/null
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
    here=$(existing $links $files $bins) there=$(existing $dirs)
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
    [ -z "$ordinary" ] || timeout 60 sha256sum $ordinary 2>/dev/null
    end_batch
    batch stat
    [ -z "$stats" ] || say "$stats"
    # A directory may be a link to a larger disk.
    # shellcheck disable=SC2086
    [ -z "$there" ] || stat -L -c "$stat_format" $there 2>/dev/null
    end_batch
    for path in $texts; do [ ! -f "$path" ] || file_field f text "$path|$path"; done
    for path in $certs; do [ ! -f "$path" ] || file_field c cert "$path|$path"; done
}

# One unit as systemctl shows it, where one was read.
unit_shown() {
    [ -n "$u_id" ] || return 0
    rec "unit|$u_id|$u_sub|$u_enabled|$u_restarts|$u_reload"
    for drop_in in $u_drop_ins; do [ ! -f "$drop_in" ] || file_field d drop-in "$u_id|$drop_in|$drop_in"; done
    unit_pids="$unit_pids $u_id|$u_pid|$u_active/$u_sub"
}

# Sets `unit_pids`: of each unit its name, process and state.
observe_units() {
    unit_pids=''
    { [ -n "$1" ] && command -v systemctl >/dev/null 2>&1; } || return 0
    # shellcheck disable=SC2086
    # The bus has a limit of its own, 25 s.
    shown=$(systemctl show \
        --property=Id,ActiveState,SubState,UnitFileState,NRestarts,NeedDaemonReload,MainPID,DropInPaths $1 2>/dev/null)
    u_id=''
    while IFS= read -r line; do
        case $line in
        '') unit_shown; u_id='' ;;
        Id=*) u_id=${line#*=} ;;
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
            tr '\0' '\n' <"/proc/$pid/environ"
            close_field
            written=''
            [ "$how" != pod ] || written=$(stat -c %Y "$after" 2>/dev/null)
            printf '%s\n' "$nonce w$name|$pid|$written"
        fi
        case $how/$state_now in
        unit/active/running | unit/inactive/*) ;;
        unit/?*)
            open_field "log|$name"
            timeout 20 journalctl --unit="$where" --lines=12 --no-pager --output=cat 2>/dev/null
            close_field
            ;;
        pod/*) [ -n "$exe" ] || pod_log "$name" "$after" ;;
        file/*)
            [ -n "$exe" ] || [ ! -f "${where%.pid}.log" ] || {
                open_field "log|$name"
                tail -n 12 "${where%.pid}.log"
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
        [ -z "$last" ] || { grep -hE 'panic|fatal' "$last" | tail -n 3; tail -n 12 "$last"; }
    })
    [ -z "$lines" ] || field "log|$1" "$lines"
}

# What is nothing of etcd's and nothing of anyone's.
is_leftover() {
    case ${1##*/} in lost+found | *.kept-* | .etcdup-fsync.*) return 0 ;; *) return 1 ;; esac
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

# Whether this process runs a file of this host's own that only root may change: nothing else is run as root just to ask for
# its version, least of all what a container brought along.
is_hosts_own() {
    [ "$(stat -L -c '%d:%i' "$1" 2>/dev/null)" = "$(stat -L -c '%d:%i' "$2" 2>/dev/null)" ] || return 1
    case $(stat -L -c '%U %a' "$2" 2>/dev/null) in
    'root '*[2367]? | 'root '*[2367]) return 1 ;;
    'root '*) return 0 ;;
    *) return 1 ;;
    esac
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
        version=''
        ! is_hosts_own "$process/exe" "$exe" || version=$(timeout 10 "$exe" --version 2>/dev/null | awk '/^etcd Version:/ { print $3 }')
        rec "etcd|$pid|$(stat -c %U "$process")|$manifest"
        field "etcd-unit|$pid" "$unit"
        field "etcd-exe|$pid" "$exe"
        open_field "etcd-command|$pid"
        tr '\0' '\n' <"$process/cmdline" 2>/dev/null
        close_field
        open_field "etcd-variables|$pid"
        tr '\0' '\n' <"$process/environ" 2>/dev/null
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
    ! timeout 60 grep -qa peerURLs "$db"
}

observe_data() {
    for path in $datas; do
        if [ ! -e "$path" ]; then
            rec "data|$path|absent|"
        elif is_empty "$path" || never_joined "$path"; then
            rec "data|$path|empty|"
        else
            head=''
            for segment in "$path"/member/wal/*.wal; do
                [ ! -f "$segment" ] || head=$(od -An -v -tx1 -N 64 "$segment")
                break
            done
            if [ -n "$head" ]; then field "data|$path|member" "$head"; else rec "data|$path|foreign|"; fi
            # A mark is a short line; anything else in its place is not read as root.
            mark=$path/member/.etcdup-mark
            { [ -f "$mark" ] && [ ! -L "$mark" ]; } || continue
            open_field "mark|$path"
            timeout 5 head -c 64 "$mark"
            close_field
        fi
    done
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
    start=$(date +%s%N)
    timeout 10 dd if=/dev/zero of=probe bs=4096 count=50 oflag=dsync || return 1
    ended=$(date +%s%N)
    case $start in
    *[!0-9]*) return 1 ;;
    *) say "$(((ended - start) / 50000))" ;;
    esac
}

observe_ports() {
    for entry in $ports; do
        runs=no
        case " $pids " in *" ${entry#*|} "*) runs=runs ;; esac
        printf '%s\n' "$nonce p${entry%%|*}|$runs"
    done
}

observe_names() {
    # All at once: a resolver that is dead costs its time only once. Each answer is one write, so that none cuts another.
    for name in $names; do
        field "name|$name" "$(timeout 5 getent ahosts "$name" 2>/dev/null)" &
    done
    for address in $reverses; do
        field "reverse|$address" "$(timeout 5 getent hosts "$address" 2>/dev/null)" &
    done
    wait
}

observe_own() {
    for file in "$state"/*.json; do
        name=${file##*/} name=${name%.json}
        [ -f "$file" ] || continue
        if [ "$name" = "$cluster" ]; then file_field f record "$file"; else file_field f other "$name|$file"; fi
    done
    if read_lease; then
        held=held
        ! lease_expired || held=expired
        field "lease|$held" "$l_operation|$l_verb|$l_epoch|$l_who|$l_since"
    fi
}

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
    } </dev/stdin | awk "$report"
}

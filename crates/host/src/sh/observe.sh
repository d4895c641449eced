# shellcheck shell=sh
# Answers queries about a host as records, `key|field|field`, free text in base64, closed by `end|COUNT`.
# It leaves nothing behind; only the measurement of a disk writes a file, and takes it away.
# Queries, one a line: tool, image, user, file, dir, link, bin, text, cert, member, data, disk, every, time, port, name,
# reverse.

# Numbers the records and closes them, but only after the producer's own last word: a cut answer is never whole.
closing() { awk '$0 == "complete" { print "end|" n + 0; exit } { print; n++ }'; }

observe_queries() {
    files='' dirs='' links='' bins='' texts='' certs='' members='' datas='' disks='' every='' time='' ports='' names='' reverses='' users=''
    while IFS='|' read -r kind one two three; do
        case $kind in
        end) break ;;
        image) ! has_image "$one" || say "image|$(b64_of "$one")" ;;
        tool) command -v "$one" >/dev/null 2>&1 || say "missing|$one" ;;
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

observe_system() {
    read -r machine </etc/machine-id || machine=
    read -r hostname </proc/sys/kernel/hostname
    read -r init </proc/1/comm
    # shellcheck disable=SC1091
    system=$( (. /etc/os-release && printf '%s' "$PRETTY_NAME") 2>/dev/null) || system=
    clock=$(date +%s%N)
    case $clock in
    *[!0-9]*) clock=$(date +%s)000 ;;
    *) clock=${clock%??????} ;;
    esac
    selinux=no
    [ ! -e /sys/fs/selinux/enforce ] || selinux=yes
    say "sys|$machine|$(boot_id)|$(uptime_ms)|$((clock - now))|$(uname -m)|$(id -u)|$(b64_of "$hostname")|$(b64_of "$system")|$init|$selinux"
    if command -v ip >/dev/null 2>&1; then
        ip -o addr show scope global | awk '{ split($4, a, "/"); print "addr|" $2 "|" a[1] }'
    fi
    sed -n 's/^nameserver[[:space:]]*\([^[:space:]]*\).*/resolver|\1/p' /etc/resolv.conf 2>/dev/null
    login=${SUDO_USER:-$(id -un)}
    say "home|$(b64_of "$(getent passwd "$login" 2>/dev/null | cut -d: -f6)")"
    for user in $users; do
        ! id -u "$user" >/dev/null 2>&1 || say "user|$user"
    done
}

observe_files() {
    # A directory may be a link to a larger disk.
    for path in $dirs; do
        [ ! -d "$path" ] || stat -L -c 'file|%n|dir|%a|%U:%G|%s|-|%Y' "$path"
    done
    for path in $links; do
        if [ -L "$path" ]; then
            say "file|$path|link|777|-|0|$(readlink "$path" | b64)|-"
        elif [ -e "$path" ]; then
            stat -c 'file|%n|other|%a|%U:%G|%s|-|%Y' "$path"
        fi
    done
    [ -z "$files$bins" ] || {
        # shellcheck disable=SC2086
        {
            # Not what would be waited for without end, such as a pipe.
            ordinary=''
            for path in $files; do [ ! -f "$path" ] || ordinary="$ordinary $path"; done
            [ -z "$ordinary" ] || timeout 60 sha256sum $ordinary 2>/dev/null | sed 's/^\\//; s/^/sum|/'
            binary_sums
            stat -c 'stat|%n|%F|%a|%U:%G|%s|%Y' $files $bins 2>/dev/null
        } | awk -F'|' '
            $1 == "sum" { split($2, s, "  "); sum[s[2]] = s[1]; next }
            seen[$2]++ { next }
            $3 ~ /^regular/ { print "file|" $2 "|file|" $4 "|" $5 "|" $6 "|" sum[$2] "|" $7; next }
            $3 == "directory" { print "file|" $2 "|dir|" $4 "|" $5 "|" $6 "|-|" $7; next }
            $3 == "symbolic link" { next }
            { print "file|" $2 "|other|" $4 "|" $5 "|" $6 "|-|" $7 }'
        for path in $files $bins; do
            [ ! -L "$path" ] || say "file|$path|link|777|-|0|$(readlink "$path" | b64)|-"
        done
    }
    for path in $texts; do
        [ ! -f "$path" ] || say "text|$path|$(b64 <"$path")"
    done
    # Nothing but certificates leaves: a file may hold a key beside one.
    for path in $certs; do
        [ ! -f "$path" ] || say "cert|$path|$(sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' "$path" | b64)"
    done
}

# Binaries are large: one that has the size, the time and the inode noted beside its sum is not read again.
noted_sum() {
    awk -v p="$1" -v s="$2" '$1 == p && $3 " " $4 " " $5 == s { k = $2 } END { print k }' "$state/sums" 2>/dev/null
}

binary_sums() {
    for path in $bins; do
        now_stat=$(stat -c '%s %Y %i' "$path" 2>/dev/null) || continue
        known=$(noted_sum "$path" "$now_stat")
        [ -n "$known" ] || [ "${hash_unknown:-yes}" = no ] || known=$(sha256sum "$path" | cut -d' ' -f1)
        say "sum|${known:--}  $path"
    done
}

# What changes a unit from beside it: the path of each drop-in, then its directives.
drop_ins_of() {
    for drop_in in $1; do
        say "# $drop_in"
        sed '/^[[:space:]]*\([#;]\|$\)/d' "$drop_in" 2>/dev/null
    done
}

# A member's process, by its unit or its pid file; what is not etcd is not a member.
observe_members() {
    pids=''
    units=''
    for entry in $members; do
        case $entry in *'|unit|'*) units="$units ${entry##*|}" ;; esac
    done
    shown=''
    if [ -n "$units" ] && command -v systemctl >/dev/null 2>&1; then
        # shellcheck disable=SC2086
        shown=$(timeout 20 systemctl show --property=Id,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,NeedDaemonReload,MainPID,DropInPaths $units 2>/dev/null |
            awk -F= '
                function out() {
                    if (v["Id"] != "") print "unit|" v["Id"] "|" v["LoadState"] "|" v["ActiveState"] "|" v["SubState"] "|" \
                        v["UnitFileState"] "|" v["Result"] "|" v["NRestarts"] "|" v["NeedDaemonReload"] "|" v["MainPID"] "|" \
                        v["DropInPaths"]
                    split("", v)
                }
                /^$/ { out(); next } { v[$1] = $2 } END { out() }')
        printf '%s\n' "$shown" | while IFS='|' read -r kind id load active sub enabled result restarts reload pid drop_ins; do
            [ -z "$kind" ] || say "unit|$id|$load|$active|$sub|$enabled|$result|$restarts|$reload|$(drop_ins_of "$drop_ins" | b64)"
        done
    fi
    for entry in $members; do
        name=${entry%%|*} rest=${entry#*|}
        how=${rest%%|*} where=${rest#*|} after=
        # A pod's data directory, then its manifest; a process's pid file, then its data directory.
        [ "$how" = unit ] || { after=${where#*|} where=${where%%|*}; }
        case $how in
        unit) pid=$(printf '%s\n' "$shown" | awk -F'|' -v u="$where" '$2 == u { print $10 }') ;;
        pod) pid=$(etcd_of_data "$where") ;;
        *)
            pid=$(cat "$where" 2>/dev/null)
            # After a reboot the pid file may hold the process ID of another member.
            runs_on "${pid:-0}" "$after" || pid=
            ;;
        esac
        exe=$(readlink "/proc/${pid:-0}/exe" 2>/dev/null) || exe=
        # A replaced file is still what runs, and says so by its name: `/opt/.../etcd (deleted)`.
        file=${exe% (deleted)}
        if [ "${file##*/}" = etcd ]; then
            pids="$pids $name"
            command=$(tr '\0' '\n' <"/proc/$pid/cmdline" | b64)
            variables=$(tr '\0' '\n' <"/proc/$pid/environ" | grep '^ETCD_' | b64)
            began=$(began_of "$pid")
            say "proc|$name|$pid|$(b64_of "$exe")|$command|$variables|$(age_of "$how" "$began" "$after")|$began"
        fi
        state_now=$(printf '%s\n' "$shown" | awk -F'|' -v u="$where" '$2 == u { print $4 "/" $5 }')
        case $how/$state_now in
        unit/active/running | unit/inactive/*) ;;
        unit/?*) say "log|$name|$(timeout 20 journalctl --unit="$where" --lines=12 --no-pager --output=cat 2>/dev/null | b64)" ;;
        pod/*) [ -n "$exe" ] || pod_log "$name" "$after" ;;
        file/*) [ -n "$exe" ] || [ ! -f "${where%.pid}.log" ] || say "log|$name|$(tail -n 12 "${where%.pid}.log" | b64)" ;;
        esac
    done
}

# When a process began, in seconds since 1970.
began_of() {
    ticks=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)
    booted=$(awk '$1 == "btime" { print $2 }' /proc/stat)
    [ -z "$ticks" ] || say "$((booted + ticks / 100))"
}

# A pod that began before its manifest was written is not the one that the manifest means.
age_of() {
    [ "$1" = pod ] && [ -n "$2" ] || return 0
    written=$(stat -c %Y "$3" 2>/dev/null) || return 0
    [ "$(($2 + 1))" -ge "$written" ] || say outdated
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
    } | b64)
    [ -z "$lines" ] || say "log|$1|$lines"
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
        ! systemctl is-active --quiet "$service" 2>/dev/null || { say "time|$service"; return; }
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
        exe=$(readlink "$process/exe" 2>/dev/null) || continue
        case $exe in */etcd | */etcd' (deleted)') ;; *) continue ;; esac
        command=$(tr '\0' '\n' <"$process/cmdline" 2>/dev/null | b64)
        variables=$(tr '\0' '\n' <"$process/environ" 2>/dev/null | grep '^ETCD_' | b64)
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
        seen="$(b64_of "$exe")|$command|$variables|$(b64_of "$version")|$(b64_of "$image")"
        say "etcd|${process#/proc/}|$(stat -c %U "$process")|$unit|$manifest|$seen|$([ -z "$manifest" ] || b64 <"$manifest")"
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
            say "data|$path|absent|"
        elif is_empty "$path" || never_joined "$path"; then
            say "data|$path|empty|"
        else
            head=''
            for segment in "$path"/member/wal/*.wal; do
                [ ! -f "$segment" ] || head=$(od -An -v -tx1 -N 64 "$segment" | tr -d ' \n')
                break
            done
            if [ -n "$head" ]; then say "data|$path|member|$head"; else say "data|$path|foreign|"; fi
            # A mark is a short line; anything else in its place is not read as root.
            mark=$path/member/.etcdup-mark
            [ ! -f "$mark" ] || [ -L "$mark" ] || say "mark|$path|$(timeout 5 head -c 64 "$mark" | b64)"
        fi
    done
}

nearest_directory() {
    near=$1
    while [ ! -d "$near" ]; do near=${near%/*}; [ -n "$near" ] || near=/; done
    say "$near"
}

observe_disks() {
    for entry in $disks; do
        path=${entry%%|*} near=$(nearest_directory "${entry%%|*}")
        fsync='-'
        { [ "${entry#*|}" = measure ] && [ ! -e "$path/member" ]; } && fsync=$(measure_fsync "$near")
        df -Pk "$near" | awk 'NR == 2 { print $(NF - 2), $1 }' | {
            read -r free device
            say "disk|$path|$free|$(b64_of "$device")|$fsync"
        }
    done
}

# The mean of fifty writes of 4 KiB, each waited for, in microseconds.
measure_fsync() {
    find "$1" -maxdepth 1 -name '.etcdup-fsync.*' -mmin +5 -exec rm -rf {} + 2>/dev/null
    in_fresh "$1" ".etcdup-fsync.$$" fsync_time 2>/dev/null || say '-'
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
    [ -n "$ports" ] || return 0
    listening=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { n = split($2, a, ":"); print a[n], $10 }')
    for entry in $ports; do
        port=${entry%%|*}
        hex=$(printf '%04X' "$port")
        inode=$(printf '%s\n' "$listening" | awk -v h="$hex" '$1 == h { print $2; exit }')
        [ -n "$inode" ] || continue
        # Of a member that runs it is enough to know that it listens: looking for the owner reads every process.
        case " $pids " in *" ${entry#*|} "*) say "port|$port|-|$(b64_of etcd)"; continue ;; esac
        # shellcheck disable=SC2012
        pid=$(ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v s="socket:[$inode]" '/^\/proc\// { split($1, p, "/") } $NF == s { print p[3]; exit }')
        program=$(cat "/proc/${pid:-0}/comm" 2>/dev/null) || program=
        say "port|$port|${pid:--}|$(b64_of "$program")"
    done
}

observe_names() {
    # All at once: a resolver that is dead costs its time only once.
    for name in $names; do
        say "name|$name|$(timeout 5 getent ahosts "$name" 2>/dev/null | awk '!seen[$1]++ { printf "%s ", $1 }')" &
    done
    for address in $reverses; do
        say "reverse|$address|$(timeout 5 getent hosts "$address" 2>/dev/null | awk '{ for (i = 2; i <= NF; i++) printf "%s ", $i }')" &
    done
    wait
}

observe_own() {
    for file in "$state"/*.json; do
        name=${file##*/} name=${name%.json}
        [ -f "$file" ] || continue
        if [ "$name" = "$cluster" ]; then say "record|$(b64 <"$file")"; else say "other|$name|$(b64 <"$file")"; fi
    done
    if read_lease; then
        held=held
        ! lease_expired || held=expired
        say "lease|$held|$l_operation|$l_verb|$l_epoch|$l_who|$l_since"
    fi
}

observe() {
    {
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
        echo complete
    } </dev/stdin | closing
}

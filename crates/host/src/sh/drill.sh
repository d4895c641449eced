# shellcheck shell=sh
# Restores a snapshot into a member that is thrown away, and reads it back: nobody can reach it but by a socket in a directory
# of its own. The second line of the input is `PLACE|SNAPSHOT|KIB`: the directory, or `-` for a fresh one below etcdup's own; the
# snapshot's file here, or `-` where it is in the tar that follows; its size. The tar holds etcd's programs, and `end` as its last.
# `@alive` is said while it works, `@drilled|REVISION|KEYS|RELEASE` at its end, and `@failed|PROGRAM|its words` where one fails.

no() {
    refused "$1"
    exit 66
}

failed() {
    say "@failed|$1|$(b64_of "$2")"
    exit 1
}

# A place of its own below etcdup's directory. Whoever holds the lock deletes what a killed one left: all secrets are in it.
take_place() {
    own_directory "$state" || no "cannot make $state, or it is owned by another user"
    exec 9>"$state/drill.lock"
    flock -n 9
    case $? in
    0) ;;
    1) no 'a snapshot is being restored on this host already' ;;
    *) no "cannot lock $state/drill.lock" ;;
    esac
    for left in "$state"/drill.?*-*; do
        [ ! -d "$left" ] || [ -L "$left" ] || end_all_in "$left" "$(readlink -f "$left")"
        rm -rf "$left"
    done
    read -r fresh </proc/sys/kernel/random/uuid
    place=$state/drill.$fresh
    mkdir -m 700 "$place" || no "cannot write below $state"
}

# In a process of its own, which outlives this one unless both are killed as a group: then the next one on this host cleans up.
# It holds none of its files: a shell keeps those that a redirected function had before. A process that has ended and that
# nobody has asked about has no program any more.
clean_up_after() {
    exec </dev/null >/dev/null 2>&1 9>&-
    read -r cleaner _ </proc/self/stat
    while [ -e "/proc/$1/exe" ]; do sleep 1; done
    clean_up
}

# What works in that directory still, and the directory: whoever is in it stands where it was, even once it is deleted.
clean_up() {
    # What was just killed may still make a file.
    for _ in 1 2 3; do
        end_all_in . "$place"
        rm -rf "${place:?}" && break
        sleep 1
    done
}

# What was started in a directory, given as it is reached and as it is called; not this process, nor the one that cleans up after it.
end_all_in() {
    for process in /proc/[0-9]*; do
        # By name first: what stands on a disk that hangs would be waited for.
        case $(readlink "$process/cwd" 2>/dev/null) in "$2" | "$2 (deleted)") ;; *) continue ;; esac
        # shellcheck disable=SC3013
        [ "$process/cwd" -ef "$1" ] || continue
        case ${process#/proc/} in "$$" | "$cleaner") ;; *) kill -KILL "${process#/proc/}" ;; esac
    done
}

# A program in the background, which may take so many seconds: all it says goes to a file. It holds none of this one's files.
work_on() {
    output=$1 limit=$2 last=$(($(uptime_ms) + $2 * 1000))
    shift 2
    nice -n 10 env -i "PATH=$PATH" ETCDCTL_API=3 "$@" >"$output" 2>&1 9>&- &
    working=$!
}

# Whether it goes on and may, and whoever waits for it is still there.
goes_on() {
    kill -0 "$working" 2>/dev/null && in_time || return 1
    say '@alive' || exit 129
    sleep 0.2 2>/dev/null || sleep 1
}

in_time() { [ "$(uptime_ms)" -lt "$last" ]; }

# Waits for it: whether it ended well.
ends_well() {
    while goes_on; do :; done
    in_time || failed "$1" "it did not end within $limit s"
    wait "$working"
}

# Asks etcd for its numbers, a line each.
ask() {
    work_on said 60 ./etcdctl --endpoints=unix://client:1 --command-timeout=50s --write-out=fields "$@"
    ends_well etcdctl
}

number_of() { sed -n "s/^\"$1\" : //p" said | head -n 1; }

# What a program says first is why it ended: a panic is followed by where. What it does it says before, as JSON or with a time.
why_of() {
    why=$(grep -im 1 -E '^(error|panic|unexpected)|"level":"(fatal|panic)"' "$1") ||
        why=$(grep -v -E '^[[:space:]]*$|[[:space:]"]info[[:space:]"]' "$1" | tail -n 1)
    [ -n "$why" ] || why='it does not say why'
    say "$why" | sed 's/^{.*"msg":"\([^"]*\)".*"error":"\([^"]*\)".*/\1: \2/; s/^{.*"msg":"\([^"]*\)".*/\1/'
}

main() {
    cleaner=''
    read_header || { refused 'the input has no header'; exit 65; }
    IFS='|' read -r place snapshot size || no 'the input was cut off'
    case $place in
    -) take_place ;;
    /?*) ;;
    *) no 'the directory has no absolute path' ;;
    esac
    cd "$place" || no "there is no $place"
    place=$(pwd -P)
    # Whoever else may write in it could put another program there.
    own=$(find . -prune -user "$(id -u)" ! -perm -020 ! -perm -002)
    [ "$own" = . ] || no "$place is owned by another user, or others may write in it"
    clean_up_after "$$" &
    cleaner=$!
    # Without these dash leaves it to that process when the link dies, a second later.
    trap 'clean_up 2>/dev/null' EXIT
    trap 'exit 129' HUP PIPE INT TERM
    # Where memory is short, this goes before a member of the cluster does.
    { echo 1000 >"/proc/$$/oom_score_adj"; } 2>/dev/null
    free=$(free_kib .)
    # What is sent and what is made of it, the programs, and etcd's log.
    [ "${free:-0}" -gt "$((size * 2 + 524288))" ] ||
        no "$((${free:-0} / 1024)) MiB are free for $place; twice the snapshot and 512 MiB are needed"
    unpack
    restore
    start_etcd
    read_back
}

unpack() {
    complaint=$(tar -xmf - 2>&1) && [ -f end ] || case $complaint in
    '' | *EOF* | *'short read'* | *'look like a tar'*) no 'the input was cut off' ;;
    *) no "cannot unpack what was sent: $(say "$complaint" | head -n 1)" ;;
    esac
    for program in etcd etcdctl etcdutl; do
        [ ! -f "$program" ] || chmod 700 "$program"
    done
    [ -x etcd ] || no "no program may run in $place: the file system is mounted noexec"
    [ "$snapshot" != - ] || snapshot=snapshot.db
    with=etcdutl
    [ -f "$with" ] || with=etcdctl
}

restore() {
    work_on said 1200 "./$with" snapshot restore "$snapshot" --data-dir data --name drill \
        --initial-cluster drill=unix://peer:1 --initial-advertise-peer-urls unix://peer:1
    ends_well "$with" || failed "$with" "$(why_of said)"
}

start_etcd() {
    work_on said 20 ./etcd --version
    ends_well etcd || failed etcd "$(why_of said)"
    release=$(sed -n 's/^etcd Version: //p' said)
    work_on console 300 ./etcd --data-dir data --name drill --quota-backend-bytes=-1 \
        --initial-cluster drill=unix://peer:1 --initial-advertise-peer-urls unix://peer:1 \
        --listen-client-urls unix://client:1 --advertise-client-urls unix://client:1 --listen-peer-urls unix://peer:1
    etcd=$working
    until grep -q 'ready to serve client requests' console; do
        goes_on || {
            in_time || failed etcd "it was not ready within $limit s"
            failed etcd "$(why_of console)"
        }
    done
}

# How many keys there are: the answer has the count of all with the first, and 3.4's etcdctl cannot ask for it alone.
# Nobody may count them where authentication is on, nor ask for the revision since 3.5.30: the file has it, once etcd has ended.
read_back() {
    if ask get '' --prefix --keys-only --limit=1; then
        keys=$(number_of Count)
    elif grep -q -e 'user name is empty' -e 'permission denied' said; then
        keys=-
        kill -KILL "$etcd"
        wait "$etcd"
        work_on said 600 "./$with" snapshot status data/member/snap/db --write-out=fields
        ends_well "$with" || failed "$with" "$(why_of said)"
    else
        [ -e "/proc/$etcd/exe" ] || failed etcd "$(why_of console)"
        failed etcdctl "$(why_of said)"
    fi
    revision=$(number_of Revision)
    [ -n "$keys" ] && [ -n "$revision" ] || failed etcdctl 'it printed no revision'
    say "@drilled|$revision|$keys|$release"
}
main

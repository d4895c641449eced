# shellcheck shell=sh
# Restores a snapshot into a member that is thrown away, and reads it back: nobody can reach it but by a socket in a directory
# of its own. The second line of the input is `PLACE|SNAPSHOT|KIB`: the directory, or `-` for a fresh one below etcdup's own; the
# snapshot's file here, or `-` where it is in the tar that follows; its size. The tar holds etcd's programs, and `end` as its last.
# `@alive` is said while it works, `@drilled|REVISION|KEYS` at its end, and `@failed|PROGRAM|its words` where one of them fails.

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
    flock -n 9 || no 'a snapshot is being restored on this host already'
    rm -rf "$state"/drill.?*-*
    read -r fresh </proc/sys/kernel/random/uuid
    place=$state/drill.$fresh
    mkdir -m 700 "$place" || no "cannot write below $state"
}

# In a process of its own, which outlives this one however that ends, and holds none of its files: a shell keeps those that a
# redirected function had before. A process that has ended and that nobody has asked about has no program any more.
clean_up_after() {
    exec </dev/null >/dev/null 2>&1 9>&-
    cd /
    while [ -e "/proc/$1/exe" ]; do sleep 1; done
    clean_up
}

# What works in that directory still, and the directory.
clean_up() {
    { read -r worker <"$place/worker"; } 2>/dev/null || worker=''
    [ "$(readlink "/proc/${worker:-0}/cwd")" != "$place" ] || kill -KILL "$worker"
    rm -rf "${place:?}"
}

# A program in the background, of which `clean_up` knows, and which may take so many seconds: its output goes to a file. It
# becomes the process that is known, and holds none of this one's files.
work_on() {
    output=$1 last=$(($(uptime_ms) + $2 * 1000))
    shift 2
    nice -n 10 env -i "PATH=$PATH" ETCDCTL_API=3 "$@" >"$output" 2>&1 9>&- &
    working=$!
    say "$working" >worker
}

# Whether it goes on and may, and whoever waits for it is still there.
goes_on() {
    kill -0 "$working" 2>/dev/null && in_time || return 1
    say '@alive' || exit 129
    sleep 0.2 2>/dev/null || sleep 1
}

in_time() { [ "$(uptime_ms)" -lt "$last" ]; }

# Asks etcd for its numbers, a line each.
ask() {
    env -i "PATH=$PATH" ETCDCTL_API=3 ./etcdctl --endpoints=unix://client:1 --command-timeout=50s --write-out=fields "$@" \
        >said 2>refusal
}

number_of() { sed -n "s/^\"$1\" : //p" said | head -n 1; }

# What a program says first is why it ended: a panic is followed by where. What it does it says before, as JSON or with a time.
why_of() {
    why=$(grep -im 1 -E '^(error|panic|unexpected)' "$1") || why=$(grep -v '^[[:space:]]*$' "$1" | tail -n 1)
    say "${why:-it says nothing}"
}

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    IFS='|' read -r place snapshot size || no 'the input was cut off'
    if [ "$place" = - ]; then take_place; fi
    cd "$place" || no "there is no $place"
    place=$(pwd -P)
    clean_up_after "$$" &
    # Without these dash leaves it to that process when the link dies, a second later.
    trap 'clean_up 2>/dev/null' EXIT
    trap 'exit 129' HUP PIPE INT TERM
    free=$(df -Pk . | awk 'NR == 2 { print $4 }')
    # What is sent and what is made of it, the programs, and etcd's log.
    [ "${free:-0}" -gt "$((size * 2 + 524288))" ] ||
        no "$((${free:-0} / 1024)) MiB are free for $place; twice the snapshot and 512 MiB are needed"
    tar -xmf - 2>/dev/null && [ -f end ] || no 'the input was cut off'
    chmod 700 etcd etcdctl
    [ ! -f etcdutl ] || chmod 700 etcdutl
    [ "$snapshot" != - ] || snapshot=$place/snapshot.db

    set -- --name drill --initial-cluster drill=unix://peer:1 --initial-advertise-peer-urls unix://peer:1 --data-dir data
    with=etcdutl
    [ -f "$with" ] || with=etcdctl
    work_on said 1200 "./$with" snapshot restore "$snapshot" "$@"
    while goes_on; do :; done
    in_time || failed "$with" 'it did not end within 20 min'
    wait "$working" || failed "$with" "$(why_of said)"

    work_on console 300 ./etcd "$@" --listen-client-urls unix://client:1 --advertise-client-urls unix://client:1 \
        --listen-peer-urls unix://peer:1 --quota-backend-bytes=-1
    until grep -q 'ready to serve client requests' console; do
        goes_on || failed etcd "$(tail -n 1 console)"
    done
    read_back
}

# How many keys there are: the answer has the count of all with the first, and 3.4's etcdctl cannot ask for it alone.
# Nobody may count them where authentication is on, and the revision is for everybody.
read_back() {
    if ask get '' --prefix --keys-only --limit=1; then
        keys=$(number_of Count)
    else
        grep -q -e 'user name is empty' -e 'permission denied' refusal || failed etcdctl "$(why_of refusal)"
        keys=-
        ask endpoint status || failed etcdctl "$(why_of refusal)"
    fi
    revision=$(number_of Revision)
    [ -n "$keys" ] && [ -n "$revision" ] || failed etcdctl 'it printed no revision'
    say "@drilled|$revision|$keys"
}
main

#!/bin/bash
# A place in which `vagrant up` works: network namespace, podman of its own, HOME of its own.
#   bed.sh make NAME [N]      N machines (3); prints the state directory; the Vagrantfile is copied to STATE/project
#   bed.sh run NAME CMD..     runs a command in it: working directory STATE/project (or VAGBED_CWD)
#   bed.sh down NAME          destroys the machines and leaves nothing; works on half-made and killed beds too
. "$(dirname "$0")/common.sh"
name=${2:-}; [[ $name =~ ^[a-z][a-z0-9]{0,9}$ ]] || { sed -n '2,/^\. /s/^# \?//p' "$0"; exit 2; }
ns=vagbed-$name dir=$RUN/$name

# Never 'ip netns exec': it mounts a /sys without the cgroups.
inbed() {
    nsenter --net="/run/netns/$ns" env -C "${VAGBED_CWD:-$dir/project}" HOME="$dir/home" VAGRANT_HOME="$dir/home/.vagrant.d" \
        PATH="$dir/bin:$PATH" VAGBED_NAME="$name" MASTER_NODE_COUNT="$(cat "$dir/count" 2>/dev/null || echo 3)" \
        WORKER_NODE_COUNT="${WORKER_NODE_COUNT:-1}" VAGRANT_DEFAULT_PROVIDER=docker \
        VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_BOX_UPDATE_CHECK_DISABLE=1 "$@"
}

left() { cat /sys/fs/cgroup/vagbed-"$name"/cgroup.procs /sys/fs/cgroup/*/vagbed-"$name"/{,*/,*/*/}cgroup.procs 2>/dev/null | sort -un || :; }

down() {
    local t i p ids nets clean=
    if [ -e "/run/netns/$ns" ] && [ -x "$dir/bin/docker" ]; then
        # Not vagrant destroy -f: that shuts each machine down first, and all it knows goes with the state directory.
        inbed timeout 60 docker rm -f -a -v -t 0 >/dev/null 2>&1 || :
        inbed timeout 60 docker network rm -f "$name-nat" "$name-private" >/dev/null 2>&1 || :
    fi
    # What is there still, if podman could not do it: the machines' processes and conmon by cgroup; what is theirs in /run.
    ids=$(find /sys/fs/cgroup -maxdepth 3 -type d -path "*/vagbed-$name/libpod-*" -printf '%f\n' 2>/dev/null | sed 's/^libpod-//; s/^conmon-//' | sort -u || :)
    nets=$(for p in $(left); do stat -Lc %i "/proc/$p/ns/net" 2>/dev/null || :; done | sort -u)
    for i in $(seq 200); do                                    # conmon ends by itself, after its own clean-up
        p=$(left); [ -n "$p" ] || break
        if [ "$i" = 1 ] || [ "$i" = 150 ]; then
            for t in $p; do [ "$i" != 1 ] || [ "$(cat "/proc/$t/comm" 2>/dev/null)" != conmon ] || continue; kill -KILL "$t" 2>/dev/null || :; done
        fi
        sleep 0.05
    done
    for t in /run/netns/netns-*; do
        if [ -e "$t" ] && grep -qx "$(stat -Lc %i "$t")" <<<"$nets"; then umount "$t" 2>/dev/null || :; rm -f "$t"; fi
    done
    for t in $ids; do rm -rf "/run/runc/$t"; done
    while read -r t; do umount -l "$t"; done < <(awk -v p="$dir/" 'index($5, p) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    [ ! -e "/run/netns/$ns" ] || ip netns delete "$ns"
    for i in $(seq 100); do                                    # a cgroup is busy until its last zombie is reaped
        find /sys/fs/cgroup -depth -type d \( -path "*/vagbed-$name" -o -path "*/vagbed-$name/*" \) -exec rmdir {} + 2>/dev/null && break
        sleep 0.05
    done
    [ ! -e "$dir/clean" ] || clean=1
    rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }
    rmdir "$RUN" 2>/dev/null || :
    # podman's and runc's only files outside the state directory; gone with the last bed, if it was a bed that made them
    if [ -n "$clean" ] && [ ! -d "$RUN" ]; then rm -rf /run/containers/networks; rmdir /run/containers /run/runc 2>/dev/null || :; fi
}

case ${1:-} in
make)
    if [ -e "/run/netns/$ns" ] || [ -e "$dir" ]; then die "$name is up already, or left over: bed.sh down $name"; fi
    store=$("$here/setup.sh")
    mkdir -p "$dir/home" "$dir/project"
    # /run/containers: nobody's yet, or another bed's
    if [ ! -e /run/containers ] || compgen -G "$RUN/*/clean" >/dev/null; then : >"$dir/clean"; fi
    trap down EXIT
    podman_config "$dir" "$store"
    echo "${3:-${MASTER_NODE_COUNT:-3}}" >"$dir/count"
    cp "$here/Vagrantfile" "$dir/project/"
    ip netns add "$ns"
    nsenter --net="/run/netns/$ns" ip link set lo up
    inbed docker network create --disable-dns --subnet 10.89.77.0/24 "$name-nat" >/dev/null
    inbed docker network create --disable-dns --internal --subnet 192.168.56.0/24 "$name-private" >/dev/null
    # The bridge of an internal network gets no address and goes with the last machine. So it is made here, with an address
    # for this side, and a port that stays keeps it (veth: not every kernel has dummy).
    br=$(inbed docker network inspect --format '{{.NetworkInterface}}' "$name-private")
    nsenter --net="/run/netns/$ns" ip -batch - <<X
link add $br type bridge
link add vbkeep type veth peer name vbkeep0
link set vbkeep master $br
link set vbkeep0 up
link set vbkeep up
addr add 192.168.56.1/24 dev $br
link set $br up
X
    trap - EXIT
    echo "$dir" ;;
run)  shift 2; inbed "$@" ;;
down) down ;;
*) sed -n '2,/^\. /s/^# \?//p' "$0"; exit 2 ;;
esac

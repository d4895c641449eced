#!/bin/bash
# Real hosts (systemd, sshd, own address) in a network namespace of their own.
#   hosts.sh up NAME N [OWNER_PID]   NAME-1 .. NAME-N at 10.77.0.11, fd77::11 ..; prints the state directory;
#                                    TESTBED_PODS=1: they run static pods (podman and kubelet.sh)
#                                    TESTBED_PYTHON=1: they have Python
#   hosts.sh start|kill NAME I       boot host I (again) / power loss: SIGKILL, disk kept
#   hosts.sh exec NAME COMMAND..     run a command in the namespace
#   hosts.sh ssh NAME I [COMMAND..]  root's shell on host I
#   hosts.sh in NAME I COMMAND..     run a command inside host I without SSH
#   hosts.sh sshd NAME I             the process ID of host I's sshd, seen from here
#   hosts.sh down NAME               stop all and leave nothing
#   hosts.sh sweep [PREFIX]          down for every NAME with that prefix whose owner is gone
# State: $RUN/NAME/{key,key.pub,known_hosts,ssh_config,owner} and per host hI/{upper,work,log}.
. "$(dirname "$0")/common.sh"
CG=/sys/fs/cgroup; [ -d $CG/unified ] && CG=$CG/unified          # hybrid, or cgroup 2 alone
NSP=eu-                                                          # name of the namespace: eu-NAME

init() {
    name=$1
    [[ $name =~ ^[a-z][a-z0-9]{0,7}$ ]] || die "a name is 1 to 8 of a-z and 0-9: veth names hold 15 characters"
    ns=$NSP$name dir=$RUN/$name cg=$CG/etcdup-testbed/$name
}
addr() { echo "10.77.0.$((10 + $1))"; }
inns() { nsenter --net="/run/netns/$ns" "$@"; }                  # never 'ip netns exec': its own /sys hides the cgroups
starttime() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; read -ra s <<<"$s"; echo "${s[19]}"; }

start_host() {                                                   # start_host I: returns at once
    local i=$1 h=$dir/h$1
    mkdir -p "$h/upper" "$h/work" "$h/root" "$cg/h$i"
    # The overlay is mounted in a mount namespace of its own: it goes with the last process, however that dies.
    # The process enters the host's cgroup first, so one write to cgroup.kill ends everything of it.
    # shellcheck disable=SC2016
    setsid nsenter --net="/run/netns/$ns" unshare --mount --propagation private bash -c '
        set -e; name=$1 i=$2 h=$3 low=$4 cg=$5 addr=$6
        echo $$ >"$cg/cgroup.procs"
        v1=/sys/fs/cgroup/systemd                                # hybrid: nspawn asks for its place here
        if [ -d $v1 ]; then v1=$v1/${cg#/sys/fs/cgroup/unified/}; mkdir -p "$v1"; echo $$ >"$v1/cgroup.procs"; fi
        r=$h/root
        mount -t overlay "$name-$i" -o "lowerdir=$low,upperdir=$h/upper,workdir=$h/work" "$r"
        if [ ! -e "$h/made" ]; then
            echo "$name-$i" >"$r/etc/hostname"
            printf "127.0.0.1 localhost\n127.0.1.1 %s\n" "$name-$i" >"$r/etc/hosts"
            tr -d - </proc/sys/kernel/random/uuid >"$r/etc/machine-id"
            sed -i "s/^Address=.*/Address=$addr\/24\nAddress=fd77::${addr##*.}\/64\nIPv6DuplicateAddressDetection=0/" \
                "$r/etc/systemd/network/10-host0.network"
            cp "$h/hostkey" "$r/etc/ssh/ssh_host_ed25519_key"; cp "$h/hostkey.pub" "$r/etc/ssh/ssh_host_ed25519_key.pub"
            cat "$h/../key.pub" >"$r/root/.ssh/authorized_keys"
            cp "$h/../key.pub" "$r/home/ops/.ssh/authorized_keys"; chown 1000:1000 "$r/home/ops/.ssh/authorized_keys"
            : >"$h/made"
        fi
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
        ulimit -n "$(ulimit -Hn)"
        pods=()
        case $low in */podroot-*)                                # podman has overlays of its own: a plain directory below
            mkdir -p "$h/containers"
            pods=(--system-call-filter="@keyring bpf" --bind="$h/containers:/var/lib/containers") ;;
        esac
        # With --keep-unit a reboot inside is exit code 133: whoever started nspawn starts it again.
        while systemd-nspawn --quiet --boot --directory="$r" --machine="$name-$i" --network-bridge=br0 \
            --register=no --keep-unit --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
            "${pods[@]}" ${TESTBED_NSPAWN:-} || rc=$?; [ "${rc:-0}" = 133 ]; do rc=0; done
    ' host "$name" "$i" "$h" "$root" "$cg/h$i" "$(addr "$i")" </dev/null >>"$h/log" 2>&1 9>&- &
    disown                                                       # no 'Killed' from the shell later
}

wait_ssh() {                                                     # wait_ssh I..: until sshd's banner is there
    # shellcheck disable=SC2016
    # A try has 0.1 s at first, since a SYN lost while the host comes up is sent again only after a second; and more later, since
    # on a loaded machine starting a shell may take longer than that.
    inns timeout 120 bash -c '
        n=0
        for a; do
            banner="exec 3<>/dev/tcp/$a/22 && read -r b <&3 && [[ \$b == SSH-* ]]"
            until timeout "$((n / 50)).$((1 + n % 50 / 10))" bash -c "$banner" 2>/dev/null; do
                n=$((n + 1)); [ "$n" -lt 250 ] || n=250; sleep 0.01
            done
        done' _ "$@" || { tail -n 15 "$dir"/h*/log >&2; die "$name: not every host answers on port 22"; }
}

kill_cg() {                                                      # kill_cg DIR: all processes below, then the tree
    local c=$1 n=0 d
    [ -d "$c" ] || return 0
    echo 1 >"$c/cgroup.kill"
    until grep -q '^populated 0' "$c/cgroup.events"; do sleep 0.01; n=$((n + 1)); [ $n -lt 1000 ] || die "processes of $c do not end"; done
    for d in "$c" "/sys/fs/cgroup/systemd${c#/sys/fs/cgroup/unified}"; do
        [ ! -d "$d" ] || find "$d" -depth -type d -exec rmdir {} +
    done
}

down() {
    local t
    [ ! -d "$cg" ] || kill_cg "$cg"
    while read -r t; do umount -l "$t"; done < <(awk -v p="$dir/" 'index($5, p) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    if [ -e "/run/netns/$ns" ]; then ip netns delete "$ns"; fi
    rm -rf "$dir" "/run/systemd/nspawn/propagate/$name-"* "/run/systemd/nspawn/unix-export/$name-"*
    rmdir "$CG/etcdup-testbed" /sys/fs/cgroup/systemd/etcdup-testbed 2>/dev/null || :
}

case ${1:-} in
up)
    init "$2"; count=$3 owner=${4:-$PPID}
    if [ -e "/run/netns/$ns" ] || [ -e "$dir" ]; then die "$name is up already, or left over: hosts.sh down $name"; fi
    root=$("$here/root.sh" ${TESTBED_PODS:+pod}${TESTBED_PYTHON:+python})
    mkdir -p "$dir"
    echo "$owner $(starttime "$owner")" >"$dir/owner"
    echo "$root" >"$dir/lower"
    trap 'down' EXIT
    ip netns add "$ns"
    inns ip -batch - <<'E'
link set lo up
link add br0 address 02:77:00:00:00:01 type bridge
addr add 10.77.0.1/24 dev br0
addr add fd77::1/64 dev br0 nodad
link set br0 up
E
    # An address that does not answer yet fails after 60 ms, not 3 s: else the first look for sshd blocks for a second.
    inns bash -c 'echo 20 >/proc/sys/net/ipv4/neigh/br0/retrans_time_ms'
    ssh-keygen -q -t ed25519 -N '' -C testbed -f "$dir/key"
    cat >"$dir/ssh_config" <<E
Host *
    User root
    IdentityFile $dir/key
    IdentitiesOnly yes
    UserKnownHostsFile $dir/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    LogLevel ERROR
E
    addrs=()
    for i in $(seq "$count"); do
        mkdir -p "$dir/h$i"
        ssh-keygen -q -t ed25519 -N '' -C "$name-$i" -f "$dir/h$i/hostkey"
        echo "$(addr "$i"),fd77::$((10 + i)) $(cut -d' ' -f1,2 "$dir/h$i/hostkey.pub")" >>"$dir/known_hosts"
        start_host "$i"; addrs+=("$(addr "$i")" "fd77::$((10 + i))")
    done
    wait_ssh "${addrs[@]}"
    trap - EXIT
    echo "$dir" ;;
start) init "$2"; root=$(cat "$dir/lower"); start_host "$3"; wait_ssh "$(addr "$3")" ;;
kill)  init "$2"; kill_cg "$cg/h$3"; inns ip link del "vb-$name-$3" 2>/dev/null || : ;;   # the kernel removes it too, but later
exec)  init "$2"; shift 2; inns "$@" ;;
ssh)   init "$2"; i=$3; shift 3; inns ssh -F "$dir/ssh_config" "$(addr "$i")" "$@" ;;
in)    init "$2"; i=$3; shift 3
       leader=$(find "$cg/h$i" -path '*/init.scope/cgroup.procs' -exec head -n1 {} \; -quit)
       [ -n "$leader" ] || die "$name-$i is not up"
       nsenter --target="$leader" --all "$@" ;;
sshd)  init "$2"
       leader=$(find "$cg/h$3" -path '*ssh.service/cgroup.procs' -exec head -n1 {} \; -quit)
       [ -n "$leader" ] || die "$name-$3 runs no sshd"
       echo "$leader" ;;
down)  init "$2"; down ;;
sweep)
    for d in "$RUN"/"${2:-}"*/ /run/netns/"$NSP${2:-}"* "$CG/etcdup-testbed/${2:-}"*/; do
        [ -e "$d" ] || continue
        n=$(basename "$d"); init "${n#"$NSP"}"
        if read -r p s 2>/dev/null <"$dir/owner" && [ "$(starttime "$p")" = "$s" ]; then continue; fi
        echo "sweep: $name" >&2; down
    done ;;
*) sed -n '2,/^\. /s/^# \?//p' "$0"; exit 2 ;;
esac

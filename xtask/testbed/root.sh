#!/bin/bash
# root.sh [pod|python]: builds the host root once; prints its path. The cache key is this script's own text (and kubelet.sh's).
# pod: with podman and a stand-in for a kubelet, in podroot-KEY. python: with Python, which etcdup never needs, for what
# etcdup is compared with, in pythonroot-KEY.
. "$(dirname "$0")/common.sh"

variant=${1:-}; [[ $variant =~ ^(pod|python)?$ ]] || die "no such variant: $variant"
key=$(cat "$here/root.sh" "$here/kubelet.sh" | sha256sum | cut -c1-12)
root=$CACHE/${variant}root-$key
if [ -d "$root" ]; then echo "$root"; exit 0; fi

mkdir -p "$CACHE/debs"
exec 9>"$CACHE/root.lock"; flock 9             # two test runs at once: the second waits, then finds it
if [ -d "$root" ]; then echo "$root"; exit 0; fi

uri=$(mirror_uri)
[ -n "$uri" ] || die "no $SUITE archive among this machine's apt sources (run apt-get update)"
for old in "$CACHE"/build.*; do umount -l "$old" 2>/dev/null || :; rm -rf "$old"; done    # of a killed build
# Built in memory (dpkg's many small files and fsyncs), then copied beside its final name and renamed.
mem=$(mktemp -d "$CACHE/build.XXXXXX")
trap 'umount -l "$mem" 2>/dev/null || :; rm -rf "$mem" "$root.part"' EXIT
mount -t tmpfs -o size=2g,mode=755 testbed-build "$mem"
b=$mem/root
mkdir -p "$b/etc/dpkg/dpkg.cfg.d"
printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
    'path-exclude=/usr/share/locale/*' 'path-exclude=/usr/share/info/*' >"$b/etc/dpkg/dpkg.cfg.d/testbed"
packages=systemd,systemd-sysv,dbus,openssh-server,iproute2,sudo,curl,procps,iptables,ca-certificates,fish,tcsh,busybox
[ "$variant" != python ] || packages+=,python3
[ "$variant" != pod ] || packages+=,podman,runc,netavark,catatonit,chrony   # netavark: the smallest network stack that satisfies dpkg
debootstrap --variant=minbase --cache-dir="$CACHE/debs" --include="$packages" \
    "$SUITE" "$b" "$uri" >"$CACHE/debootstrap.log" 2>&1 || { tail -20 "$CACHE/debootstrap.log" >&2; die "debootstrap failed"; }

rm -rf "$b"/var/cache/apt/archives/*.deb "$b"/var/lib/apt/lists/* "$b"/etc/ssh/ssh_host_*
rm -f "$b/etc/resolv.conf" "$b/etc/machine-id" "$b/var/lib/dbus/machine-id"
: >"$b/etc/resolv.conf"                        # no name server: look-ups fail at once
: >"$b/etc/machine-id"
install -d -m 700 "$b/root/.ssh"
cat >"$b/etc/systemd/network/10-host0.network" <<'E'
[Match]
Name=host0
[Network]
Address=0.0.0.0/24
LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no
E
cat >"$b/etc/ssh/sshd_config.d/testbed.conf" <<'E'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication yes
UseDNS no
MaxStartups 100:30:200
E
# A user's log-in is refused until systemd-user-sessions has run; sshd does not wait for it by itself.
mkdir -p "$b/etc/systemd/system/ssh.service.d"
printf '[Unit]\nAfter=systemd-user-sessions.service\n' >"$b/etc/systemd/system/ssh.service.d/testbed.conf"
: >"$b/etc/default/locale"
chroot "$b" /bin/bash -euc '
    useradd -m -s /bin/bash ops
    echo ops:secret | chpasswd
    install -d -m 700 -o ops -g ops /home/ops/.ssh
    echo "ops ALL=(ALL:ALL) ALL" >/etc/sudoers.d/ops; chmod 440 /etc/sudoers.d/ops
    systemctl -q enable systemd-networkd ssh
    systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer man-db.timer systemd-tmpfiles-clean.timer getty@.service getty.target console-getty.service \
        systemd-networkd-wait-online.service systemd-resolved.service systemd-timesyncd.service \
        systemd-update-utmp.service systemd-update-utmp-runlevel.service remote-fs.target
'
if [ "$variant" = pod ]; then
    # This machine has no CAP_SYS_RESOURCE (crun wants it, runc does without), and its cgroup controllers are version 1's.
    cat >"$b/etc/containers/containers.conf" <<'E'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
pids_limit = 0
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "systemd"
events_logger = "none"
runtime = "runc"
E
    cat >"$b/etc/containers/storage.conf" <<'E'
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
E
    # All hosts share this machine's clock, which none may set: chronyd -x only watches it.
    mkdir -p "$b/etc/systemd/system/chrony.service.d"
    printf '[Unit]\nConditionCapability=\n[Service]\nExecStart=\nExecStart=!/usr/sbin/chronyd -x -F 0\n' \
        >"$b/etc/systemd/system/chrony.service.d/testbed.conf"
    install -m 755 "$here/kubelet.sh" "$b/usr/bin/kubelet"
    install -d -m 755 "$b/etc/kubernetes/manifests"
    cat >"$b/etc/systemd/system/kubelet.service" <<'E'
[Unit]
After=network.target
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
E
    chroot "$b" /bin/bash -euc '
        systemctl -q enable kubelet
        systemctl -q disable chrony
        systemctl -q mask podman.service podman.socket podman-auto-update.service podman-auto-update.timer podman-restart.service
    '
fi
rm -rf "$root.part"
cp -a "$b" "$root.part"
sync -f "$root.part"
mv "$root.part" "$root"
echo "$root"

#!/bin/bash
# setup.sh: installs vagrant and podman by apt and makes the image from the project's host root, with no registry.
# Prints the image store. Again: returns at once.
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || die "needs root"
export DEBIAN_FRONTEND=noninteractive

need=()
for p in vagrant podman runc conmon netavark iptables iproute2 openssh-client; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q ' installed$' || need+=("$p")
done
if [ ${#need[@]} -gt 0 ]; then
    echo "installing ${need[*]}" >&2
    apt-get -qq install -y --no-install-recommends "${need[@]}" >/dev/null ||
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${need[@]}" >/dev/null; } >&2
fi

root=${VAGBED_ROOT:-}                                       # or the newest there
[ -n "$root" ] || for d in "$ROOTS"/root-*; do
    if [ -x "$d/lib/systemd/systemd" ] && [[ $d != *.part ]] && { [ -z "$root" ] || [ "$d" -nt "$root" ]; }; then root=$d; fi
done
[ -x "$root/lib/systemd/systemd" ] || die "no host root in $ROOTS: run the project's xtask/testbed/root.sh"
key=$(cat "$here/setup.sh" <(echo "$root") | sha256sum | cut -c1-12)
store=$CACHE/image-$key
mkdir -p "$CACHE"
exec 9>"$CACHE/lock"; flock 9
if [ -d "$store" ]; then echo "$store"; exit 0; fi

state=$(mktemp -d "$CACHE/build.XXXXXX")
# podman makes these, flags or not; only what was not there before goes.
made=; [ -e /var/lib/containers ] || made=/var/lib/containers/cache
[ -e /run/containers ] || made="$made /run/containers/networks"
# shellcheck disable=SC2086
trap 'rm -rf "$state" $made; [ -z "$made" ] || rmdir /var/lib/containers /run/containers 2>/dev/null || :' EXIT
podman_config "$state"
mkdir -p "$state/upper" "$state/work" "$state/m"
# The overlay is mounted in a mount namespace of its own and goes with it.
# shellcheck disable=SC2016
unshare --mount --propagation private bash -euc '
    state=$1 root=$2
    m=$state/m
    mount -t overlay vagbed -o "lowerdir=$root,upperdir=$state/upper,workdir=$state/work" "$m"
    rm -f "$m"/etc/ssh/ssh_host_* "$m"/etc/systemd/network/*
    : >"$m/etc/machine-id"
    # A host key at the first boot, so every machine has its own.
    cat >"$m/etc/systemd/system/ssh.service.d/vagbed.conf" <<X
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c "test -s /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N \"\" -f /etc/ssh/ssh_host_ed25519_key"
ExecStartPre=/usr/sbin/sshd -t
X
    chroot "$m" /bin/bash -euc "
        userdel -r ops 2>/dev/null || :; rm -f /etc/sudoers.d/ops
        useradd -m -s /bin/bash vagrant
        echo vagrant:vagrant | chpasswd
        echo \"vagrant ALL=(ALL) NOPASSWD: ALL\" >/etc/sudoers.d/vagrant; chmod 440 /etc/sudoers.d/vagrant
        install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh
        # podman has set up the interfaces; networkd would only take time
        systemctl -q disable systemd-networkd ssh; systemctl -q mask systemd-networkd.service systemd-networkd.socket
        systemctl -q enable ssh
    "
    install -m 600 -o 1000 -g 1000 /usr/share/rubygems-integration/all/gems/vagrant-*/keys/vagrant.pub "$m/home/vagrant/.ssh/authorized_keys"
    [ "$(stat -c %u "$m/home/vagrant")" = 1000 ] || chown --reference="$m/home/vagrant" "$m/home/vagrant/.ssh/authorized_keys"
    tar -C "$m" --numeric-owner -cf - . | "$state/bin/docker" import --quiet - "$3" >/dev/null
' _ "$state" "$root" "$IMAGE"
mv "$state/storage" "$store"
echo "$store"

#!/bin/bash
# fixtures.sh [DIR]: etcd of each Debian suite, unpacked (nothing installed), and a release mirror in upstream's layout.
#   DIR/bin/X.Y.Z/{etcd,etcdctl[,etcdutl]}   DIR/mirror/vX.Y.Z/{etcd-vX.Y.Z-linux-amd64.tar.gz,SHA256SUMS}   DIR/versions
. "$(dirname "$0")/common.sh"
out=${1:-$CACHE/etcd}
suites='bookworm trixie sid'
max_age=${TESTBED_ETCD_MAX_AGE:-7}              # days before sid is looked at again

# The first command on a machine that has no fixtures yet may well be this one.
mkdir -p "$CACHE"
exec 9>"$CACHE/etcd.lock"; flock 9
if [ -f "$out/versions" ] && [ -n "$(find "$out/versions" -mtime "-$max_age")" ]; then cat "$out/versions"; exit 0; fi

uri=$(mirror_uri); [ -n "$uri" ] || die "no $SUITE archive among this machine's apt sources (run apt-get update)"
apt=$CACHE/apt; mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
for s in $suites; do echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $s main"; done >"$apt/sources.list"
opt=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
     -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none
     -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled=false)
apt-get "${opt[@]}" update

new=$(mktemp -d "$out.XXXXXX"); chmod 755 "$new"
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/bin" "$new/mirror"
for s in $suites; do
    t=$new/$s; mkdir -p "$t/debs"
    (cd "$t/debs"; apt-get "${opt[@]}" download "etcd-server/$s" "etcd-client/$s" >/dev/null)
    for d in "$t"/debs/*.deb; do dpkg-deb -x "$d" "$t/x"; done
    v=$("$t/x/usr/bin/etcd" --version | awk '/^etcd Version:/ { print $3 }')
    [ -n "$v" ] || die "$s: etcd does not run here"
    n=etcd-v$v-linux-amd64
    mkdir -p "$new/bin/$v" "$new/mirror/v$v" "$t/$n"
    for b in etcd etcdctl etcdutl; do
        if [ -e "$t/x/usr/bin/$b" ]; then cp "$t/x/usr/bin/$b" "$new/bin/$v/"; cp "$t/x/usr/bin/$b" "$t/$n/"; fi
    done
    tar -C "$t" --owner=0 --group=0 --sort=name -cf - "$n" | gzip -1 >"$new/mirror/v$v/$n.tar.gz"
    (cd "$new/mirror/v$v" && sha256sum "$n.tar.gz" >SHA256SUMS)
    echo "$s $v" >>"$new/versions"
    rm -rf "$t"
done
rm -rf "$out"; mv "$new" "$out"; trap - EXIT
cat "$out/versions"

#!/bin/bash
# image.sh VERSION [OUT.tar]: an etcd image of that fixture as a docker archive, made without any registry or tool of containers.
# Prints its path. It holds the binaries in /usr/local/bin and the libc that Debian's need; no shell, as upstream's.
# Tag: ${TESTBED_IMAGE:-registry.k8s.io/etcd}:VERSION-0. Load it with podman load -i, docker load -i, ctr -n k8s.io images import.
. "$(dirname "$0")/common.sh"
v=${1:?version}
bin=$CACHE/etcd/bin/$v
out=${2:-$CACHE/image/etcd-$v.tar}
repo=${TESTBED_IMAGE:-registry.k8s.io/etcd}
[ -x "$bin/etcd" ] || die "no etcd $v among the fixtures (run fixtures.sh)"
if [ "$out" -nt "$bin/etcd" ] && [ "$out" -nt "$here/image.sh" ]; then echo "$out"; exit 0; fi

mkdir -p "$(dirname "$out")"
t=$(mktemp -d "$out.XXXXXX"); trap 'rm -rf "$t"' EXIT
r=$t/root; mkdir -p "$r/usr/local/bin" "$r/tmp" "$r/etc" "$r/var/lib"; chmod 1777 "$r/tmp"
cp "$bin"/etcd* "$r/usr/local/bin/"
ldd "$bin"/etcd* | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r l; do install -D -m 755 "$(realpath "$l")" "$r$l"; done
printf 'root:x:0:0:root:/:/sbin/nologin\n' >"$r/etc/passwd"
printf 'root:x:0:\n' >"$r/etc/group"
printf 'hosts: files dns\n' >"$r/etc/nsswitch.conf"

pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 "$@"; }
pack -C "$r" -cf "$t/layer.tar" .
layer=$(sha256sum "$t/layer.tar" | cut -d' ' -f1)
mv "$t/layer.tar" "$t/$layer.tar"
cat >"$t/config.json" <<E
{"architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
 "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "image.sh"}]}
E
config=$(sha256sum "$t/config.json" | cut -d' ' -f1)
mv "$t/config.json" "$t/$config.json"
printf '[{"Config":"%s.json","RepoTags":["%s:%s-0"],"Layers":["%s.tar"]}]' "$config" "$repo" "$v" "$layer" >"$t/manifest.json"
pack -C "$t" -cf "$t/out.tar" manifest.json "$config.json" "$layer.tar"
mv "$t/out.tar" "$out"
echo "$out"

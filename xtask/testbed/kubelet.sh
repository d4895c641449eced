#!/bin/bash
# A stand-in for a kubelet, inside a host: podman runs every file of the manifest directory whose name begins with no dot. A changed
# file's pod is stopped, then recreated; a removed file's is stopped; a container that ends is started again, later each time.
# Of two files with one pod's name the second waits, as in a kubelet. Stopping this service leaves the pods running.
# Not as a kubelet: no probes (upstream's image has no curl, and podman would run it inside), no resources (no controllers in
# cgroup 2 on this machine), `ports:` is dropped (podman refuses it with hostNetwork). Block style YAML, one container per pod.
dir=/etc/kubernetes/manifests
run=/run/kubelet                                # FILE.seen: as found; FILE.pod: its pod. Gone after a boot, as the pods are
DELAY=0                                         # seconds between an old pod's end and the new one's start; a kubelet takes 12 to 16
# shellcheck disable=SC1091
[ ! -e /etc/default/kubelet ] || . /etc/default/kubelet
shopt -s nullglob
unset INVOCATION_ID                             # else podman leaves its conmon in this service's cgroup
exec {idle}<> <(:)                              # to wait at without a process
declare -A seen pod pid tries next since

# What podman 4.3 cannot do, out; restarts and failures are met here.
playable() {
    awk '
        function depth() { match($0, /^ */); return RLENGTH }
        BEGIN { skip = -1 }
        skip >= 0 { d = depth(); if (d > skip || (d == skip && /^ *- /) || /^ *$/) next; skip = -1 }
        /^    (  )?(ports|resources|(liveness|readiness|startup)Probe|imagePullPolicy):/ || /^  restartPolicy:/ { skip = depth(); next }
        { print }
        /^spec:/ { print "  restartPolicy: Never" }
        /^ +(- )?image: / { printf "%" (index($0, "image:") - 1) "s%s\n", "", "imagePullPolicy: Never" }' <<<"${seen[$f]}"
}
meta() {                                        # meta KEY: of the pod's metadata
    awk -v key="$1:" '/^[^ ]/ { t = $1 }
         t == "metadata:" && /^  [^ ]/ && $1 == key { gsub(/"/, "", $2); print $2; exit }' <<<"${seen[$f]}"
}
container() {                                   # the name beside `image:`
    awk '/^  [^ -]/ { c = $1 } c != "containers:" { next }
         match($0, /^ +(- )?name: /) && !(RLENGTH in name) { name[RLENGTH] = $NF }
         match($0, /^ +(- )?image: /) { col = RLENGTH - 1 }
         END { gsub(/"/, "", name[col]); print name[col] }' <<<"${seen[$f]}"
}

note_pids() { pid[$f]=$(podman ps -q --filter "pod=${pod[$f]}" --format '{{.Pid}}' | paste -sd' '); }
later() {                                       # when to try again: after 1 s, then 10, 20, 40 .. 300 s more
    local t=${tries[$f]:-0} s=0
    [ "$t" = 0 ] || s=$((10 << (t < 6 ? t - 1 : 5)))
    next[$f]=$((EPOCHSECONDS + 1 + (s > 300 ? 300 : s))) tries[$f]=$((t + 1))
}
stop() {
    if [ -n "${pod[$f]}" ]; then
        echo "$f: stopping pod ${pod[$f]}"
        podman pod stop -t 30 "${pod[$f]}" >/dev/null 2>&1
        podman pod rm -f "${pod[$f]}" >/dev/null 2>&1
    fi
    rm -f "$run/$f".{seen,pod}
    unset "seen[$f]" "pod[$f]" "pid[$f]" "tries[$f]" "next[$f]" "since[$f]"
}
start() {
    local name ns log o out
    name=$(meta name) ns=$(meta namespace)
    if [ -z "$name" ]; then echo "$f: no pod"; next[$f]=$((EPOCHSECONDS + 3600)); return; fi
    for o in "${!pod[@]}"; do
        if [ "$o" != "$f" ] && [ "${pod[$o]}" = "$name" ]; then next[$f]=$((EPOCHSECONDS + 1)); return; fi
    done
    # As under a kubelet: /var/log/pods/NAMESPACE_POD-NODE_UID/CONTAINER/0.log, in the same format.
    log=/var/log/pods/${ns:-default}_$name-${HOSTNAME}_$(md5sum <<<"${seen[$f]}" | cut -c1-32)/$(container)
    mkdir -p "$log"
    if out=$(playable | podman kube play --replace --log-opt "path=$log/0.log" - 2>&1); then
        echo "$f: started pod $name"
        pod[$f]=$name next[$f]=0 since[$f]=$EPOCHSECONDS
        echo "$name" >"$run/$f.pod"
        note_pids
    else
        echo "$f: $out"
        podman pod rm -f "$name" >/dev/null 2>&1
        later
    fi
}
alive() { local p; [ -n "${pid[$f]}" ] || return 1; for p in ${pid[$f]}; do [ -d "/proc/$p" ] || return 1; done; }

if [ ! -d $run ]; then podman pod rm -fa >/dev/null 2>&1; mkdir -p $run; fi        # after a boot or a power cut
for f in "$run"/*.seen; do                                                        # after a restart of this service
    f=${f##*/}; f=${f%.seen}
    IFS= read -r -d '' "seen[$f]" <"$run/$f.seen"
    if [ -e "$run/$f.pod" ]; then read -r "pod[$f]" <"$run/$f.pod"; note_pids; fi
done
while :; do
    for f in "${!seen[@]}"; do [ -f "$dir/$f" ] || stop; done
    for f in "$dir"/*; do
        [ -f "$f" ] || continue
        IFS= read -r -d '' now <"$f"; f=${f##*/}                                  # no process is started to look
        [ -n "$now" ] || continue
        if [ "$now" != "${seen[$f]-}" ]; then
            if [ -n "${pod[$f]}" ]; then stop; sleep "$DELAY"; fi
            seen[$f]=$now tries[$f]=0
            printf %s "$now" >"$run/$f.seen"
            start
        elif [ -z "${pod[$f]}" ]; then
            [ "$EPOCHSECONDS" -lt "${next[$f]:-0}" ] || start
        elif alive; then
            [ $((EPOCHSECONDS - ${since[$f]:-0})) -lt 60 ] || tries[$f]=0
        elif [ "${next[$f]:-0}" = 0 ]; then
            echo "$f: pod ${pod[$f]} ended"; later
        elif [ "$EPOCHSECONDS" -ge "${next[$f]}" ]; then
            echo "$f: starting pod ${pod[$f]} again"
            podman pod start "${pod[$f]}" >/dev/null 2>&1
            next[$f]=0 since[$f]=$EPOCHSECONDS
            note_pids
        fi
    done
    read -rt 0.3 -u "$idle"
done

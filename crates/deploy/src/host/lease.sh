# shellcheck shell=sh
# Takes, renews or gives back the lease on a host. The request is the second line: `take|VERB|WHO|SINCE`, `renew` or
# `release`. The answer is `@lease|taken|EPOCH`, `@lease|kept`, `@lease|released`, or
# `@lease|held|OPERATION|VERB|EPOCH|WHO|SINCE|RENEWED` when it is somebody else's.

write_lease() {
    printf '%s\n' "$1|$(boot_id)|$(uptime_ms)" >"$state/.lease.new" && mv -f "$state/.lease.new" "$state/lease"
}

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    IFS='|' read -r request verb who since
    own_directory "$state" || { refused "cannot make $state, or it belongs to somebody else"; exit 65; }
    exec 9>"$state/lease.lock"
    timeout 10 flock 9 || { refused 'the lease is locked'; exit 65; }
    l_operation='' l_epoch=0
    if read_lease && [ "$l_operation" != "$operation" ] && ! lease_expired; then
        echo "@lease|held|$l_operation|$l_verb|$l_epoch|$l_who|$l_since|$l_uptime"
        exit 0
    fi
    case $request in
    take)
        next=$((l_epoch + 1))
        write_lease "$operation|$verb|$next|$who|$since" && echo "@lease|taken|$next"
        ;;
    renew)
        if [ "$l_operation|$l_epoch" = "$operation|$epoch" ]; then
            write_lease "$l_operation|$l_verb|$l_epoch|$l_who|$l_since" && echo '@lease|kept'
        else
            echo "@lease|held|$l_operation|${l_verb:-}|$l_epoch|${l_who:-}|${l_since:-}|${l_uptime:-}"
        fi
        ;;
    release)
        [ "$l_operation|$l_epoch" != "$operation|$epoch" ] || rm -f "$state/lease"
        echo '@lease|released'
        ;;
    esac
}
main

# shellcheck shell=sh
# Takes, renews or releases the lease on a host. The request is the second line: `take|VERB|WHO|SINCE|DEAD|STAGES`, `renew`
# or `release|RESULT`; DEAD is an operation that the operator knows to have ended without releasing. The answer is
# `@lease|taken|EPOCH|LAST`
# with what the last stage on this host left to be known by, `@lease|kept`, `@lease|released`, `@lease|busy|WHO` while the last script of the holder before still
# runs, or `@lease|held|OPERATION|VERB|EPOCH|WHO|SINCE|RENEWED` when another operation holds it.

write_lease() {
    printf '%s\n' "$1|$(boot_id)|$(uptime_ms)" >"$state/.lease.new" && mv -f "$state/.lease.new" "$state/lease"
}

# The operations log: who began what, and how it ended, one line each. Whoever may not write it on a full disk may still work.
note() {
    lines=0 torn=''
    if [ -f "$state/operations" ]; then
        while read -r torn; do lines=$((lines + 1)); done <"$state/operations"
    fi
    # What a write that was cut off left ends here: the next line is one of its own.
    [ -z "$torn" ] || echo >>"$state/operations"
    if [ "$lines" -ge 600 ]; then
        tail -n 300 "$state/operations" >"$state/.operations.new" && mv -f "$state/.operations.new" "$state/operations"
    fi
    printf '%s\n' "$1" >>"$state/operations"
}

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    IFS='|' read -r request verb who since dead stages || { refused 'the request is cut off'; exit 65; }
    own_directory "$state" || { refused "cannot make $state, or it is owned by another user"; exit 65; }
    exec 9>"$state/lease.lock"
    flock -n 9 || timeout 10 flock 9 || { refused 'the lease is locked'; exit 65; }
    l_operation='' l_epoch=0
    if read_lease && [ "$l_operation" != "$operation" ] && [ "$l_operation" != "${dead:-none}" ] && ! lease_expired; then
        say "@lease|held|$l_operation|$l_verb|$l_epoch|$l_who|$l_since|$l_uptime"
        exit 0
    fi
    case $request in
    take)
        # A dead operator's last script ends before its successor writes anywhere, on this host or on another.
        exec 8>"$state/stage.lock"
        flock -n 8 || { say "@lease|busy|${l_who:-another operation}"; exit 0; }
        next=$((l_epoch + 1))
        last=''
        [ ! -f "$state/last" ] || read -r last <"$state/last"
        write_lease "$operation|$verb|$next|$who|$since" || return
        note "began|$now|$cluster|$operation|$next|$verb|$who|${stages:-}" 2>/dev/null || :
        say "@lease|taken|$next|$last"
        ;;
    renew)
        if [ "$l_operation|$l_epoch" = "$operation|$epoch" ]; then
            write_lease "$l_operation|$l_verb|$l_epoch|$l_who|$l_since" && echo '@lease|kept'
        else
            say "@lease|held|$l_operation|${l_verb:-}|$l_epoch|${l_who:-}|${l_since:-}|${l_uptime:-}"
        fi
        ;;
    release)
        if [ "$l_operation|$l_epoch" = "$operation|$epoch" ]; then
            rm -f "$state/lease"
            # The field that a verb has in a request to take it.
            note "ended|$now|$cluster|$operation|$epoch|${verb:-}" 2>/dev/null || :
        fi
        echo '@lease|released'
        ;;
    esac
}
main

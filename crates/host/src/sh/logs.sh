# shellcheck shell=sh
# Prints the log of a member. The second line of the input says which: `unit|NAME|LINES|FOLLOW`, `file|PATH|LINES|FOLLOW` or
# `pod|NAME|LINES|FOLLOW`, FOLLOW being `yes` or `no`.

follow_file() {
    [ -n "$1" ] && [ -f "$1" ] || { refused "there is no log${1:+ at $1}"; exit 66; }
    echo '@log'
    if [ "$2" = yes ]; then exec tail -n "$3" -F "$1"; else exec tail -n "$3" "$1"; fi
}

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    IFS='|' read -r kind name lines follow
    case $kind in
    unit)
        echo '@log'
        if [ "$follow" = yes ]; then
            exec journalctl --unit="$name" --lines="$lines" --no-pager --output=short-iso --follow
        fi
        exec journalctl --unit="$name" --lines="$lines" --no-pager --output=short-iso
        ;;
    pod)
        last=$(newest /var/log/pods/*"$name"*/etcd/*.log)
        follow_file "$last" "$follow" "$lines"
        ;;
    *) follow_file "$name" "$follow" "$lines" ;;
    esac
}
main

# shellcheck shell=sh
# Prints the last segment of a raft log, packed: what it says of itself is read by whoever asked. The second line of the input
# is the directory of the segments.

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    IFS= read -r log
    last=''
    for segment in "$log"/*.wal; do
        [ -f "$segment" ] && [ ! -L "$segment" ] && last=$segment
    done
    [ -n "$last" ] || { refused "there is no log in $log"; exit 66; }
    say "@log|${last##*/}|$(stat -c %Y "$last")"
    exec gzip -1 -c "$last"
}
main

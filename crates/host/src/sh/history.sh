# shellcheck shell=sh
# Prints the operations log: `@history`, then its lines behind `@`, then `@end`.

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    echo '@history'
    if [ -f "$state/operations" ]; then
        sed 's/^/@/' "$state/operations"
        # A last line that was cut off has no end.
        echo
    fi
    echo '@end'
}
main

# shellcheck shell=sh
# Prints the operations log: `@history`, then its lines behind `@`, then `@end`.

main() {
    read_header || { refused 'the input has no header'; exit 65; }
    echo '@history'
    if [ -f "$state/operations" ]; then
        while IFS= read -r line; do say "@$line"; done <"$state/operations"
    fi
    echo '@end'
}
main

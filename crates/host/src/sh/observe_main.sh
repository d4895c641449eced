# shellcheck shell=sh
main() {
    read_header || { refused 'the input has no header'; exit 65; }
    echo '@observe'
    observe
}
main

# shellcheck shell=sh
# How the observe script writes records.
#
# Starting a program costs more than anything else here, so the shell reads what it can by itself, and
# one awk at the end encodes, reads files and counts. What goes to it is a line of control or a line
# of text between two of them; every line of control begins with a word that nobody can know before:
# the text of a process or a file cannot pass for a record.

# A record whose fields are ours, or checked by type.
rec() { printf '%s\n' "$nonce r$1"; }
# A record whose last field is this text.
field() { printf '%s\n' "$nonce <$1" "$2" "$nonce >"; }
# The same for the output of what stands between them. What has no new line at its end gets one.
open_field() { printf '%s\n' "$nonce <$1"; }
close_field() { printf '\n%s\n' "$nonce >"; }
# A record whose last field is a file's text: whole, its certificates alone, or without comments.
file_field() { printf '%s\n' "$nonce $1$2|$3"; }

# Reads control lines and text, writes records.
# shellcheck disable=SC2016
report='
    function encoded(s) {
        gsub(/%/, "%25", s); gsub(/[|]/, "%7C", s); gsub(/\r/, "%0D", s); gsub(/\n/, "%0A", s)
        return s
    }
    function emit(record) { print record; count++ }
    # A file whole, what of it are certificates (a file may hold a key beside one), or what of it counts for systemd.
    function content(path, what,   line, out, inside, block) {
        out = ""
        while ((getline line < path) > 0) {
            if (what == "c") {
                # Whatever is not the base64 of a certificate between its own two lines stays here.
                if (line ~ /^-----BEGIN CERTIFICATE-----[ \t\r]*$/) { inside = 1; block = encoded(line) "%0A"; continue }
                if (!inside) continue
                if (line ~ /^-----END CERTIFICATE-----[ \t\r]*$/) { inside = 0; out = out block encoded(line) "%0A"; continue }
                if (line !~ /^[A-Za-z0-9+\/=]+[ \t\r]*$/) { inside = 0; continue }
                block = block encoded(line) "%0A"
                continue
            }
            if (what == "d" && line ~ /^[ \t]*([#;]|$)/) continue
            out = out encoded(line) "%0A"
        }
        close(path)
        return out
    }
    # A line of stat: kind, mode, owner, size, time, inode, path, and the path as `stat -c %N` shows a link.
    function stat_line(line,   f, n, kind, to) {
        n = split(line, f, "|")
        if (n < 8) { bad = 1; return }
        if (seen[f[7]]++) return
        kind = "other"
        if (f[1] ~ /^regular/) kind = "file"
        if (f[1] == "directory") kind = "dir"
        if (f[1] == "symbolic link") {
            # `... |NAME|QUOTE NAME QUOTE -> QUOTE TARGET QUOTE`, the name having no quote by type.
            to = substr(line, index(line, "|" f[7] "|") + 2 * length(f[7]) + 9)
            sub(/.$/, "", to)
            emit("file|" f[7] "|link|777|-|0|" encoded(to) "|-")
        } else emit("file|" f[7] "|" kind "|" f[2] "|" f[3] "|" f[4] "|" (f[7] in sum ? sum[f[7]] : "-") "|" f[5])
    }
    function sum_line(line,   f, path) {
        sub(/^\\/, "", line)
        path = line; sub(/^[^ ]*  /, "", path)
        split(line, f, " ")
        sum[path] = f[1]
    }
    function listening(   line, f, a, n, path, i) {
        split("/proc/net/tcp /proc/net/tcp6", path, " ")
        for (i = 1; i <= 2; i++) {
            while ((getline line < path[i]) > 0) {
                split(line, f, " ")
                if (f[4] == "0A") { n = split(f[2], a, ":"); if (!(a[n] in inode)) inode[a[n]] = f[10] }
            }
            close(path[i])
        }
        listened = 1
    }
    # Of a member that runs it is enough to know that it listens: looking for the owner reads every process.
    function port(number, runs,   hex, pid, comm, line, f, p, command) {
        if (!listened) listening()
        hex = sprintf("%04X", number)
        if (!(hex in inode)) return
        if (runs) { emit("port|" number "|-|etcd|"); return }
        command = "ls -l /proc/[0-9]*/fd 2>/dev/null"
        while ((command | getline line) > 0) {
            if (line ~ /^\/proc\//) split(line, p, "/")
            f[0] = line; sub(/^.* /, "", f[0])
            if (pid == "" && f[0] == "socket:[" inode[hex] "]") pid = p[3]
        }
        close(command)
        if (pid != "") { getline comm < ("/proc/" pid "/comm"); close("/proc/" pid "/comm") }
        emit("port|" number "|" (pid == "" ? "-" : pid) "|" encoded(comm) "|" encoded(unit_of(pid)))
    }
    # The service that a process belongs to, by its control group.
    function unit_of(pid,   line, unit) {
        if (pid == "") return ""
        while ((getline line < ("/proc/" pid "/cgroup")) > 0)
            if (line ~ /\.service$/) { sub(/^.*\//, "", line); if (unit == "") unit = line }
        close("/proc/" pid "/cgroup")
        return unit
    }
    # When a process began, in seconds since 1970: its stat counts ticks since the boot.
    function since(pid,   line, f, booted, path) {
        path = "/proc/" pid "/stat"
        if ((getline line < path) <= 0) return "-"
        close(path)
        sub(/^.*[)] /, "", line)
        split(line, f, " ")
        while ((getline booted < "/proc/stat") > 0) if (booted ~ /^btime /) break
        close("/proc/stat")
        sub(/^btime /, "", booted)
        return int(booted + f[20] / 100)
    }
    # A pod that began before its manifest was written is not the one that the manifest means.
    function started(member, began, written) {
        emit("since|" member "|" began "|" (written != "" && began != "-" && began + 1 < written ? "outdated" : ""))
    }
    # Not an argument: every user may read those of a process.
    NR == 1 { nonce = $0; length_of = length(nonce); next }
    index($0, nonce) == 1 {
        kind = substr($0, length_of + 2, 1); rest = substr($0, length_of + 3)
        if (kind == "<") { inside = 1; prefix = rest; body = ""; lines = 0 }
        else if (kind == ">") { emit(prefix "|" body); inside = 0 }
        else if (kind == "r") emit(rest)
        else if (kind == "f" || kind == "c" || kind == "d") {
            path = rest; sub(/^.*[|]/, "", path)
            emit(substr(rest, 1, length(rest) - length(path)) content(path, kind))
        }
        else if (kind == "b") { batch = rest; rows = 0 }
        else if (kind == "e") {
            # A line that is missing would be taken for that of another path.
            if (batch ~ /^disk / && rows != split(batch, of, " ")) bad = 1
            batch = ""
        }
        else if (kind == "w") { split(rest, word, "|"); started(word[1], since(word[2]), word[3]) }
        else if (kind == "p") { split(rest, word, "|"); port(word[1], word[2] == "runs") }
        else if (kind == "z" && !bad) { print "end|" count + 0; exit }
        next
    }
    # Of a process, what etcd reads alone: its other variables may be secrets of others.
    inside && prefix ~ /^(etcd-)?variables[|]/ && !/^ETCD_/ { next }
    inside { body = body (lines++ ? "%0A" : "") encoded($0); next }
    batch == "stat" { stat_line($0); next }
    batch == "sum" { sum_line($0); next }
    # `df -P` prints a line for each path that it was given, in that order, below its head.
    batch ~ /^disk / {
        if (!rows++) next
        # A device or a mount point may hold blanks: what counts stands beside the only `N%`.
        for (i = NF; i > 2; i--) if ($i ~ /^[0-9]+%$/) break
        split(batch, of, " ")
        if (i > 2 && of[rows] != "") emit("disk|" of[rows] "|" $(i - 1) "|" encoded($1)); else bad = 1
        next
    }
    batch == "addr" { if (split($4, a, "/")) emit("addr|" $2 "|" a[1]); next }
    batch == "resolver" { if ($1 == "nameserver") emit("resolver|" $2); next }
    # A line that nobody announced: then nothing of the answer can be trusted.
    { bad = 1 }
'
batch() { printf '%s\n' "$nonce b$1"; }
end_batch() { printf '%s\n' "$nonce e"; }

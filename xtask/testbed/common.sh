# shellcheck shell=bash disable=SC2034
# Sourced by the testbed's scripts. Everything lives under these two directories.
set -euo pipefail
CACHE=${TESTBED_CACHE:-/var/cache/etcdup-testbed}
RUN=${TESTBED_RUN:-/var/tmp/etcdup-testbed}          # state and disks of the hosts that are up
SUITE=bookworm
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# The address that this machine's own apt uses for the suite (any sources format, security archive excluded).
mirror_uri() {
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get -qq update >&2      # without lists, indextargets is empty
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v s="$SUITE" '$1 == s { print $2; exit }'
}

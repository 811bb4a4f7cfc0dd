#!/bin/sh
# A queue that is a folder: what is put into it is enlarged into another one, as soon as it has stopped growing.
#
#     examples/watched_queue.sh INCOMING DONE [further options of vidsr batch]
#
# Files may be copied, downloaded or moved in; sub-folders are kept. Ctrl-C ends it, and the same command
# goes on with what is unfinished: as a service, let the system start it again. Needs the extra 'watch'.
set -eu
if [ $# -lt 2 ]; then
    sed -n '4s/^# *//p' "$0" >&2
    exit 2
fi
incoming=$1 done=$2
shift 2
mkdir -p "$incoming" "$done"
exec vidsr batch --watch --recursive "$incoming" --output-dir "$done" "$@"

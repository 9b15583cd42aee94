#!/bin/sh
# enter.sh FOLDER COMMAND ...: a command in a site, in the present directory. Within the site, as when
# mpirun calls it again, the command itself.
site=$1
shift
[ -e /.ekd-site ] && exec "$@"
exec chroot "$site" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$PWD" "$@"

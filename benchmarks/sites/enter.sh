#!/bin/sh
# enter.sh FOLDER COMMAND ...: a command in a site, in the present directory. Within the site, as when
# mpirun calls it again, the command itself.
#
# /proc, /dev, /sys, /tmp and the checkout of ekd are mounted in the site for this command alone, so
# that the folder can be removed at any time.
site=$1
shift
[ -e /.ekd-site ] && exec "$@"
checkout=$(realpath "$(dirname "$0")/../..")
exec unshare --mount --propagation private sh -eu -c '
  site=$1 checkout=$2 here=$3
  shift 3
  for path in /proc /dev /sys /tmp "$checkout"; do
    mkdir -p "$site$path"
    mount --bind "$path" "$site$path"
  done
  exec chroot "$site" /bin/sh -c "cd \"\$1\" && shift && exec \"\$@\"" sh "$here" "$@"
' sh "$site" "$checkout" "$PWD" "$@"

#!/usr/bin/env bash
# debian.sh FOLDER RELEASE: a folder with a release of Debian: its LAMMPS, Open MPI, Python and compiler.
# Commands are run in it by enter.sh.
set -euo pipefail
folder=$(realpath -m "$1")
release=$2
if [ ! -e "$folder/.ekd-site" ]; then
  mirror=$(grep -hE '^URIs:' /etc/apt/sources.list.d/debian.sources | head -1 | awk '{print $2}')
  command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -y -qq debootstrap; }
  [ -e "$folder/bin" ] || debootstrap --variant=minbase --no-check-gpg "$release" "$folder" "$mirror"
  cp -r /etc/apt/apt.conf.d/. "$folder/etc/apt/apt.conf.d/"
  cp /etc/resolv.conf /etc/hosts "$folder/etc/"
  echo "deb-src $mirror $release main" > "$folder/etc/apt/sources.list.d/source.list"
  chroot "$folder" sh -eu -c 'export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends g++ cmake ninja-build lammps liblammps-dev \
      libopenmpi-dev openmpi-bin python3 python3-dev python3-venv ca-certificates'
  mkdir -p "$folder/etc/ssl/certs"
  cp -r /etc/ssl/certs/. "$folder/etc/ssl/certs/"
  [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$folder/etc/"
  touch "$folder/.ekd-site"
fi

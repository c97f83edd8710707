#!/bin/sh
# Builds a runnable Apache Mesos 1.11.0 for Debian 12 or a similar x86-64 Linux.
#
# usage: build.sh BUILD_DIR
#
# The master and the agent are those of libmesos, which the Python package
# mesos.scheduler carries whole, linked into its extension module. What that
# needs of an older distribution is stubbed (see gen_stubs.py); the programs
# around it are built from the sources next to this script.
#
# Exit status: 10 packages are missing and cannot be installed, 11 the Python
# package cannot be downloaded; the last line of stderr says why. Any other
# failure is a defect of the build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/bin" "$1/lib" "$1/libexec"
build=$(cd "$1" && pwd)
lib=$build/lib/libmesos.so
sha256=84d7ee9af27e912636b139de40257df1ee4f56c201de6bba834278aa1e8fd64c

refuse() { status=$1; shift; echo "$*" >&2; exit "$status"; }

command -v dpkg >/dev/null && command -v apt-get >/dev/null ||
  refuse 10 'needs Debian 12 or alike: dpkg and apt-get are not here'
packages='g++ binutils python3 python3-pip libsvn1 libapr1 libsasl2-2
  libsasl2-modules zlib1g'
missing=
for p in $packages; do
  dpkg -s "$p" >/dev/null 2>&1 || missing="$missing $p"
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] ||
    refuse 10 "needs root to install packages:$missing"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq &&
    apt-get install -y -qq --no-install-recommends $missing; } </dev/null ||
    refuse 10 "apt-get cannot install$missing: is the package registry reachable?"
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
pip='/usr/bin/python3 -m pip --disable-pip-version-check'
# The package is a plain archive of an installed tree, which pip downloads and
# unpacks but then does not take for a project: hence --no-clean, and the
# failure. From 24.1 on pip does not accept the version's name at all.
case $($pip --version) in "pip 2"[0-3].*) ;; *)
  $pip install -q --target "$tmp/pip" 'pip==23.3.2' ||
    refuse 11 'pip cannot install pip 23.3.2: is PyPI reachable?'
  pip="env PYTHONPATH=$tmp/pip /usr/bin/python3 -m pip" ;;
esac
mkdir "$tmp/unpacked"
TMPDIR=$tmp/unpacked $pip download -q --no-clean --no-deps -d "$tmp" \
  'mesos-scheduler==1.11.0.linux-x86_64' >"$tmp/log" 2>&1 || true
so=$(find "$tmp/unpacked" -name _scheduler.so)
if [ -z "$so" ]; then
  cat "$tmp/log" >&2
  refuse 11 'pip cannot download mesos-scheduler 1.11.0: is PyPI reachable?'
fi
echo "$sha256  $so" | sha256sum -c --quiet
strip -o "$lib" "$so"

/usr/bin/python3 "$here/gen_stubs.py" "$lib" "$build/lib"
g++ -O1 -std=c++17 -Wall -pthread -o "$build/bin/mesos-local" \
  "$here/shim.cpp" -L"$build/lib" -l:libmesos.so -l:libpython2.7-stub.so \
  -Wl,--disable-new-dtags -Wl,-rpath,'$ORIGIN/../lib' \
  -Wl,-rpath-link,"$build/lib"
for role in master agent standby; do
  ln -sf mesos-local "$build/bin/mesos-$role"
done
ln -sf ../bin/mesos-local "$build/libexec/mesos-containerizer"
install -m 755 "$here/mesos-executor" "$here/mesos-fetcher" "$build/libexec"

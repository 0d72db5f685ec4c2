#!/usr/bin/env bash
# Installs the engine, static and shared, into one prefix; moves it; builds and runs a project of
# somebody else's against it in four ways; looks at what the shared library exports and needs.
#
#   run.sh SOURCE WORK CXX LAUNCHER WERROR     WORK keeps the two builds, so that a second run is short
set -euo pipefail
source=$1
work=$2
cxx=$3
launcher=$4
werror=$5  # the flags of the build that runs this, so that a compiler cache has its objects
prefix=$work/prefix
moved=$work/moved
step() { printf '== %s\n' "$*"; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

mkdir -p "$work"
rm -rf "$prefix" "$moved" "$work"/consumer_* "$work"/find_*
for kind in static shared; do
  step "the engine alone, $kind, with every package that the program needs out of reach"
  [ "$kind" = shared ] && shared=ON || shared=OFF
  quietly cmake -S "$source" -B "$work/$kind" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$cxx" \
    ${launcher:+-DCMAKE_CXX_COMPILER_LAUNCHER="$launcher"} -DFOVEA_ENGINE_ONLY=ON -DBUILD_SHARED_LIBS=$shared -DFOVEA_WERROR="$werror" \
    -DCMAKE_DISABLE_FIND_PACKAGE_ICU=ON -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON \
    -DFOVEA_SENTENCEPIECE_INCLUDE_DIR= -DFOVEA_DNNL_INCLUDE_DIR=
  quietly cmake --build "$work/$kind" --parallel 1
  quietly cmake --install "$work/$kind" --prefix "$prefix"
done
mv "$prefix" "$moved"  # an installed tree can be moved
libdir=$(dirname "$(find "$moved" -name libfovea.a)")

expect_said() { [ "$1" = 'fovea is installed well' ] || { printf 'wrong: the consumer said: %s\n' "$1" >&2; exit 1; }; }

# Whether the program at $1 needs libfovea.so says which library it was linked with.
expect_kind() {
  local needs=static
  readelf -d "$1" | grep -q 'NEEDED.*libfovea\.so\.' && needs=shared
  [ "$needs" = "$2" ] || { printf 'wrong: %s is linked with the %s library\n' "$1" "$needs" >&2; exit 1; }
}

configure() {  # FOLDER [options]
  local folder=$1
  shift
  cmake -S "$source/tests/install/consumer" -B "$work/$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$moved" "$@"
}

for kind in static shared; do
  step "find_package, $kind"
  quietly configure "consumer_$kind" -DKIND=$kind
  quietly cmake --build "$work/consumer_$kind"
  expect_kind "$work/consumer_$kind/consumer" $kind
  expect_said "$("$work/consumer_$kind/consumer")"
done

step 'find_package without a component goes by BUILD_SHARED_LIBS'
for kind in static shared; do
  [ "$kind" = shared ] && shared=ON || shared=OFF
  quietly configure "find_$kind" -DBUILD_SHARED_LIBS=$shared
  quietly cmake --build "$work/find_$kind"
  expect_kind "$work/find_$kind/consumer" $kind
done
if configure find_wrong -DKIND=gpu >"$work/log" 2>&1 ||
  ! grep -q 'its components are shared and static, not gpu' "$work/log"; then
  printf 'wrong: find_package does not refuse a component that does not exist\n' >&2
  exit 1
fi

if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH=$libdir/pkgconfig
  main=$source/tests/install/consumer/main.cc
  step 'pkg-config, shared'
  # shellcheck disable=SC2046
  quietly "$cxx" -std=c++20 -O1 "$main" -o "$work/pc_shared" $(pkg-config --cflags --libs fovea)
  expect_kind "$work/pc_shared" shared
  expect_said "$(LD_LIBRARY_PATH=$libdir "$work/pc_shared")"
  step 'pkg-config, static'
  # shellcheck disable=SC2046
  quietly "$cxx" -std=c++20 -O1 -static "$main" -o "$work/pc_static" $(pkg-config --static --cflags --libs fovea)
  expect_kind "$work/pc_static" static
  expect_said "$("$work/pc_static")"
else
  step 'pkg-config is not here: left out'
fi

step 'what the shared library exports and needs'
python3 "$source/tests/install/check_symbols.py" "$libdir/libfovea.so" "$libdir/libfovea.a" "$moved/include/fovea"

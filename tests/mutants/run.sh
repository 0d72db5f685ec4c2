#!/usr/bin/env bash
# Plants one fault at a time into the engine (tests/mutants/faults.txt), builds, and runs the tests.
# A fault that no test sees survives: then a test is missing. Exit 1 if any survives, or no longer fits the code.
#
#   tests/mutants/run.sh [NAME...]      all of them, or those named
#   tests/mutants/run.sh --fits         plants nothing: only says which lines no longer fit the code
#
# Works on a copy of the tree in build/mutants; the tree itself is never touched.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

# Calls f NAME FOLDER PROGRAMS EDIT for each line of faults.txt: name, room, what sed does to its files; separated
# by " | ". A room is a folder under src/, or one of the tree (include/fovea). Words after it are the test programs
# that count, attention_tests where there are none. # begins a comment.
each_fault() {
  while IFS='|' read -r name room edit <&3; do
    name=$(echo "$name" | tr -d ' ')
    case $name in '' | \#*) continue ;; esac
    read -r room programs <<<"$room"
    [ -d "$root/$room" ] || room=src/$room
    "$1" "$name" "$room" "${programs:-attention_tests}" "${edit# }"
  done 3<"$root/tests/mutants/faults.txt"
}

if [ "${1:-}" = --fits ]; then
  unfit=0
  fits() {
    for file in "$2"/*; do
      sed -e "$4" "$file" | cmp -s - "$file" || return 0
    done
    echo "$1 changes nothing"
    unfit=1
  }
  each_fault fits
  exit $unfit
fi

copy=$root/build/mutants/tree
build=$root/build/mutants/build
fresh=$root/build/mutants/fresh
rm -rf "$fresh"
mkdir -p "$fresh" "$copy" "$build"
git ls-files -z -co --exclude-standard -- ':!models' |
  tar --null --ignore-failed-read -T - -cf - 2>/dev/null |
  tar -xmf - -C "$fresh"
# Files that are as they were keep their time, and are not built again; whatever an interrupted run left is new.
(cd "$fresh" && find . -type f -print0) | while IFS= read -r -d '' file; do
  if cmp -s "$copy/$file" "$fresh/$file"; then touch -r "$copy/$file" "$fresh/$file"; fi
done
rm -rf "$copy" && mv "$fresh" "$copy"
tree=$(cd "$copy" && find . -type f -print0 | sort -z | xargs -0 sha1sum | sha1sum)

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
# -O1: a fault is a fault, and the kernels are compiled once for each.
cmake -S "$copy" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 \
  -DFOVEA_DEVELOPER=ON "${launcher[@]}" >"$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 1; }

tests() {  # builds and runs the programs named; 1 at the first that fails, 2 if they do not compile
  cmake --build "$build" --target "$@" >"$build/build.log" 2>&1 || return 2
  local program
  for program in "$@"; do
    timeout 300 "$build/tests/$program" --gtest_fail_fast --gtest_brief=1 >"$build/test.log" 2>&1 || return 1
  done
}

# Without a fault they pass: asked once for each state of the tree.
if [ "$(cat "$build/passed" 2>/dev/null)" != "$tree" ]; then
  tests attention_tests kernels_tests base_tests ||
    { cat "$build/build.log" "$build/test.log" | tail -n 40; echo "mutants: the tests fail without any fault"; exit 1; }
  echo "$tree" >"$build/passed"
fi

survivors=()
unfit=()
killed=0
wanted=" $* "
plant() {
  local name=$1 room=$copy/$2 programs=$3 edit=$4 file status=0
  if [ "$wanted" != "  " ] && [[ "$wanted" != *" $name "* ]]; then return 0; fi
  rm -rf "$build/original" && cp -a "$room" "$build/original"
  for file in "$room"/*; do
    sed -e "$edit" "$file" >"$build/edited"
    cmp -s "$build/edited" "$file" || cp "$build/edited" "$file"
  done
  if diff -qr "$room" "$build/original" >/dev/null; then
    unfit+=("$name (changes nothing)")
    printf '%-28s changes nothing\n' "$name"
  else
    # shellcheck disable=SC2086
    tests $programs || status=$?
    case $status in
      0) survivors+=("$name"); printf '%-28s SURVIVED\n' "$name" ;;
      2) unfit+=("$name (does not compile)"); printf '%-28s does not compile\n' "$name" ;;
      *) killed=$((killed + 1))
         printf '%-28s caught by %s\n' "$name" \
           "$(grep -m1 -o '^\[  FAILED  \] [^, ]*' "$build/test.log" | cut -c 14- | grep . || echo a crash)" ;;
    esac
  fi
  for file in "$room"/*; do
    cmp -s "$file" "$build/original/${file##*/}" || cp "$build/original/${file##*/}" "$file"
  done
}
each_fault plant

echo "mutants: $killed caught, ${#survivors[@]} survived ${survivors[*]:-}, ${#unfit[@]} do not fit ${unfit[*]:-}"
[ ${#survivors[@]} = 0 ] && [ ${#unfit[@]} = 0 ]

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
    if [ -d "$root/src/$room" ]; then room=src/$room; fi
    "$1" "$name" "$room" "${programs:-attention_tests}" "${edit# }"
  done 3<"$root/tests/mutants/faults.txt"
}

if [ "${1:-}" = --fits ]; then
  unfit=0
  fits() {
    for file in "$2"/*; do
      [ -f "$file" ] || continue
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
git ls-files -z -co --exclude-standard -- ':!models' ':!tests/mutants' |
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

# Fewer random cases than usual: they take long, and a fault is better seen by a test of its own. Fresh memory is not 0.
export FOVEA_TEST_CASES=${FOVEA_TEST_CASES:-40} MALLOC_PERTURB_=85

# tests FILTER PROGRAM...: builds and runs them; 1 at the first that fails, 2 if they do not compile. Seconds are of
# the processor's time: the machine may be shared. (The other limit is for those that wait for ever.)
tests() {
  local filter=$1 program
  shift
  cmake --build "$build" --target "$@" >"$build/build.log" 2>&1 || return 2
  for program in "$@"; do
    (ulimit -t 300
     timeout 3000 "$build/tests/$program" --gtest_filter="$filter" --gtest_fail_fast --gtest_brief=1 ||
       exit) >"$build/test.log" 2>&1 || { echo "exit status $?" >>"$build/test.log"; return 1; }
  done
}

# Without a fault they pass: asked once for each state of the tree.
if [ "$(cat "$build/passed" 2>/dev/null)" != "$tree" ]; then
  tests '*' attention_tests kernels_tests base_tests ||
    { cat "$build/build.log" "$build/test.log" | tail -n 40; echo "mutants: the tests fail without any fault"; exit 1; }
  echo "$tree" >"$build/passed"
fi

# The objects that are compiled from the files given. (ccache may have made their names relative.)
objects_of() {
  ninja -C "$build" -t deps | FILES=$1 BESIDE=${build%/*} awk '
    BEGIN { for (n = split(ENVIRON["FILES"], list, "\n"); n > 0; --n) wanted[list[n]] = 1 }
    /^[^ ]/ { object = $1; sub(/:$/, "", object) }
    /^ / { file = substr($0, 5); sub(/^\.\./, ENVIRON["BESIDE"], file); if (file in wanted && !(object in seen)) { seen[object] = 1; print object } }'
}

# The kernels are compiled once for each instruction set, which takes longer than all the rest, and tested once for
# each. Most faults show in any of them: so the others come second, where the fault survived in this one.
quick=avx2
[ "$(uname -m)" = x86_64 ] || quick=neon

survivors=()
unfit=()
killed=0
wanted=" $* "
# The files that are edited keep their time, so nothing is built anew but the objects that are removed here; and
# those without the fault come back from where they were kept.
plant() {
  local name=$1 room=$copy/$2 programs=$3 edit=$4 file object status=0 edited= first=() second=()
  if [ "$wanted" != "  " ] && [[ "$wanted" != *" $name "* ]]; then return 0; fi
  rm -rf "$build/original" "$build/good" && mkdir "$build/good" && cp -a "$room" "$build/original"
  for file in "$room"/*; do
    [ -f "$file" ] || continue
    sed -e "$edit" "$file" >"$build/edited"
    cmp -s "$build/edited" "$file" && continue
    edited+=$file$'\n'
    cp "$build/edited" "$file"
    touch -r "$build/original/${file##*/}" "$file"
  done
  if [ -z "$edited" ]; then
    unfit+=("$name (changes nothing)")
    printf '%-28s changes nothing\n' "$name"
    return 0
  fi
  for object in $(objects_of "$edited"); do
    mkdir -p "$build/good/${object%/*}"
    cp -a "$build/$object" "$build/good/$object"
    case ${object##*/} in
      sweep_$quick.*) first+=("$build/$object") ;;
      sweep_*) second+=("$build/$object") ;;
      *) first+=("$build/$object") ;;
    esac
  done
  if [ ${#first[@]} = 0 ] && [ ${#second[@]} = 0 ]; then
    unfit+=("$name (in no object)")
    printf '%-28s is in no object\n' "$name"
  else
    if [ ${#first[@]} != 0 ]; then
      rm -f "${first[@]}"
      # shellcheck disable=SC2086
      tests "*-*/avx512*:*/amx*:*/scalar" $programs || status=$?
    fi
    if [ $status = 0 ]; then
      rm -f "${second[@]}"
      # shellcheck disable=SC2086
      tests "*-*/$quick" $programs || status=$?
    fi
    case $status in
      0) survivors+=("$name"); printf '%-28s SURVIVED\n' "$name" ;;
      2) unfit+=("$name (does not compile)"); printf '%-28s does not compile\n' "$name" ;;
      *) killed=$((killed + 1))
         printf '%-28s caught by %s\n' "$name" \
           "$(grep -m1 -o '^\[  FAILED  \] [^, ]*' "$build/test.log" | cut -c 14- | grep . ||
              tail -n 1 "$build/test.log")" ;;
    esac
  fi
  # The libraries first: interrupted after it, the next run finds edited files and builds them anew.
  find "$build" -name 'lib*.a' -delete
  (cd "$build/good" && find . -type f -print0) | while IFS= read -r -d '' object; do
    cp -a "$build/good/$object" "$build/$object"
  done
  while IFS= read -r file; do
    [ -z "$file" ] || cp -a "$build/original/${file##*/}" "$file"
  done <<<"$edited"
}
each_fault plant

echo "mutants: $killed caught, ${#survivors[@]} survived ${survivors[*]:-}, ${#unfit[@]} do not fit ${unfit[*]:-}"
[ ${#survivors[@]} = 0 ] && [ ${#unfit[@]} = 0 ]

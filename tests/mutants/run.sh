#!/usr/bin/env bash
# Plants one fault at a time into the engine (tests/mutants/faults.txt), builds, and runs the engine's tests.
# A fault that no test sees survives: then a test is missing. Exit 1 if any survives, or no longer fits the code.
#
#   tests/mutants/run.sh [NAME...]      all of them, or those named
#
# Works on a copy of the tree in build/mutants; the tree itself is never touched.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
copy=$root/build/mutants/tree
build=$root/build/mutants/build
rm -rf "$copy"
mkdir -p "$copy" "$build"
git ls-files -z -co --exclude-standard -- ':!models' |
  tar --null --ignore-failed-read -T - -cf - 2>/dev/null |
  tar -xmf - -C "$copy"  # -m: built anew, whatever an earlier run left

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
# -O1: a fault is a fault, and the kernels are compiled once for each.
cmake -S "$copy" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 \
  -DFOVEA_DEVELOPER=ON "${launcher[@]}" >"$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 1; }

tests() {  # builds and runs; false at the first failure
  cmake --build "$build" --target attention_tests >"$build/build.log" 2>&1 || return 2
  timeout 300 "$build/tests/attention_tests" --gtest_fail_fast --gtest_brief=1 >"$build/test.log" 2>&1
}

tests || { cat "$build/build.log" "$build/test.log" | tail -n 40; echo "mutants: the tests fail without any fault"; exit 1; }

survivors=()
unfit=()
killed=0
# Lines: name, room under src/, what sed does to its files; separated by " | ". # begins a comment.
while IFS='|' read -r name room edit; do
  name=$(echo "$name" | tr -d ' ')
  room=$copy/src/$(echo "$room" | tr -d ' ')
  case $name in '' | \#*) continue ;; esac
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  edit=${edit# }
  rm -rf "$build/original" && cp -a "$room" "$build/original"
  for file in "$room"/*; do
    sed -e "$edit" "$file" >"$build/edited"
    cmp -s "$build/edited" "$file" || cp "$build/edited" "$file"
  done
  status=0
  if diff -qr "$room" "$build/original" >/dev/null; then
    unfit+=("$name (changes nothing)")
    printf '%-28s changes nothing\n' "$name"
  else
    tests || status=$?
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
done <"$root/tests/mutants/faults.txt"

echo "mutants: $killed caught, ${#survivors[@]} survived ${survivors[*]:-}, ${#unfit[@]} do not fit ${unfit[*]:-}"
[ ${#survivors[@]} = 0 ] && [ ${#unfit[@]} = 0 ]

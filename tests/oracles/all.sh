#!/usr/bin/env bash
# Every oracle, one after the other; none is skipped. all.sh BUILD-FOLDER PYTHON
set -euo pipefail
build=$1
python=$2
here=$(dirname "$0")
passed=0
failed=0
check() {
  printf '\n-- %s\n' "$*"
  if "$python" "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
check "$here/attend_oracle.py" --program "$build/fovea"
check "$here/metrics_oracle.py" --program "$build/fovea"
check "$here/tokenizer_oracle.py" --program "$build/fovea"
check "$here/practice_oracle.py" --program "$build/fovea"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# Every oracle, one after the other; none is skipped. all.sh BUILD-FOLDER PYTHON
# With FOVEA_DATA (the Tatoeba test files; CI has them) metrics are compared on real sentences too, and the
# shipped model is scored on unseen text.
set -euo pipefail
build=$1
python=$2
here=$(dirname "$0")
model=models/fr+de-en
passed=0
failed=0
check() {
  printf '\n-- %s\n' "$*"
  if "$python" "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
check "$here/attend_oracle.py" --program "$build/fovea"
check "$here/metrics_oracle.py" --program "$build/fovea" ${FOVEA_DATA:+--data "$FOVEA_DATA"}
check "$here/tokenizer_oracle.py" --program "$build/fovea"
check "$here/practice_oracle.py" --program "$build/fovea"
check "$here/models_oracle.py" --program "$build/tests/oracles/marian_dump"
check "$here/models_oracle.py" --program "$build/tests/oracles/marian_dump" --model "$model" \
  --lines "$here/sentences.fr-de.txt"
check "$here/train_oracle.py" --prepare "$build/fovea-prepare" --fit build/fit/fovea-fit
if [ -n "${FOVEA_DATA:-}" ]; then
  check "$here/models_oracle.py" --program "$build/tests/oracles/marian_dump" --model "$model" \
    --lines "$FOVEA_DATA/de-en.test.tsv.gz" --count 200
  check "$here/quality_oracle.py" --program "$build/fovea" --model "$model" --data "$FOVEA_DATA"
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

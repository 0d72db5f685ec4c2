#!/usr/bin/env bash
# All benchmarks, one after the other, on an otherwise idle machine: all.sh BUILD-FOLDER. Results: bench/results/*.json
set -euo pipefail
build=$1
here=$(dirname "$0")
mkdir -p "$here/results"
"$build/bench/attend_bench" --json "$here/results/attend.json"
if [ -x build/venv-oracles/bin/python ]; then
  build/venv-oracles/bin/python "$here/translate_bench.py" --program "$build/fovea" --model models/fr+de-en \
    --json "$here/results/translate.json"
else
  echo 'bench: the comparison with transformers and CTranslate2 needs ./run oracles first; left out' >&2
fi

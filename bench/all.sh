#!/usr/bin/env bash
# All benchmarks, one after the other, on an otherwise idle machine: all.sh BUILD-FOLDER [TATOEBA-FOLDER]
# Results: bench/results/*.json. The second needs fr-en.test.tsv.gz and de-en.test.tsv.gz, and ./run oracles before.
set -euo pipefail
build=$1
data=${2:-}
mkdir -p bench/results
"$build/fovea" bench --full --threads 1,0 --type float32,bfloat16,float16 --json bench/results/attend.json
"$build/bench/fovea_numerics" bench/results/numerics.json
python3 tools/numerics_page.py
if [ -z "$data" ] || [ ! -x build/venv-oracles/bin/python ]; then
  echo 'bench: the comparison of translators needs ./run oracles first, and then: ./run bench TATOEBA-FOLDER' >&2
  exit 0
fi
build/venv-oracles/bin/python bench/translate_bench.py --program "$build/tests/oracles/marian_dump" \
  --model models/fr+de-en --lines "$data/fr-en.test.tsv.gz" --lines "$data/de-en.test.tsv.gz" \
  --out bench/results/translate.json
build/venv-oracles/bin/python tests/oracles/quality_oracle.py --program "$build/fovea" \
  --model models/fr+de-en --data "$data" --json bench/results/quality.json

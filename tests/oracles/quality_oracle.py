"""The shipped model on text it has not seen: BLEU and chrF of `fovea translate`, scored by sacreBLEU.

  python tests/oracles/quality_oracle.py --program build/dev/fovea --model models/NAME --data ../shared/data/tatoeba

Fails when a score is under its floor, when a line is missing, or when fovea's own BLEU or chrF of the same
output differs from sacreBLEU's by more than 1e-9. Prints every score with its signature.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import sacrebleu

# What the model must reach; its card says what it does reach.
FLOORS = {"fr-en": 37.0, "de-en": 32.0}


def score(program, model, pairs, beams):
    """Translates the sources; returns (BLEU, chrF) as sacreBLEU's score objects with their metrics."""
    sources = [source for source, _ in pairs]
    references = [target for _, target in pairs]
    run = subprocess.run(
        [program, "translate", "--model", model, "--beam", str(beams), "-"],
        input="\n".join(sources) + "\n", capture_output=True, text=True, check=True)
    hypotheses = run.stdout.split("\n")[:-1]
    if len(hypotheses) != len(sources):
        raise SystemExit(f"translate gave {len(hypotheses)} lines for {len(sources)}")
    bleu, chrf = sacrebleu.BLEU(), sacrebleu.CHRF()
    result = {
        "bleu": bleu.corpus_score(hypotheses, [references]).score,
        "chrf": chrf.corpus_score(hypotheses, [references]).score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }
    with tempfile.TemporaryDirectory() as folder:
        hypothesis_file, reference_file = pathlib.Path(folder, "hyp"), pathlib.Path(folder, "ref")
        hypothesis_file.write_text("\n".join(hypotheses) + "\n", encoding="utf-8")
        reference_file.write_text("\n".join(references) + "\n", encoding="utf-8")
        own = json.loads(subprocess.run(
            [program, "evaluate", "--hypotheses", hypothesis_file, "--references", reference_file, "--json"],
            capture_output=True, text=True, check=True).stdout)
    own_scores = {"bleu": own["bleu"]["score"], "chrf": own["chrf"][0]["score"]}  # chrf: chrF2, then chrF2++
    for name, value in own_scores.items():
        if not abs(value - result[name]) <= 1e-9:
            raise SystemExit(f"{name}: fovea says {value!r}, sacreBLEU {result[name]!r}")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--part", default="test", choices=["valid", "test"])
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--json", type=pathlib.Path, help="write the scores here")
    arguments = parser.parse_args()

    failed = 0
    scores = {}
    for pair, floor in FLOORS.items():
        with gzip.open(arguments.data / f"{pair}.{arguments.part}.tsv.gz", "rt", encoding="utf-8") as lines:
            pairs = [line.rstrip("\n").split("\t") for line in lines]
        result = score(arguments.program, arguments.model, pairs, arguments.beam)
        scores[pair] = result
        good = result["bleu"] >= floor
        failed += not good
        print(f"{pair}: BLEU {result['bleu']:.2f} (floor {floor}) {result['bleu_signature']}, "
              f"chrF2 {result['chrf']:.2f} {result['chrf_signature']}, {len(pairs)} sentences"
              f"{'' if good else '  UNDER THE FLOOR'}", flush=True)
    if arguments.json:
        command = " ".join(["python", "tests/oracles/quality_oracle.py", "--model", arguments.model,
                            "--part", arguments.part, "--beam", str(arguments.beam)])
        arguments.json.write_text(json.dumps({"command": command, "scores": scores}, indent=1) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

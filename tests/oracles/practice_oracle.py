"""fovea practice beside NumPy: the programs with a mistake are run, and repaired, and run again.

  python tests/oracles/practice_oracle.py --program build/dev/fovea
"""

import argparse
import json
import re
import subprocess
import sys
import warnings

import numpy as np

REPAIRS = {  # what each claim puts in place of its line
    5: "scores = Q @ K.T / np.sqrt(Q.shape[1])",
    6: "e = np.exp(scores - scores.max(axis=1, keepdims=True))",
    7: "weights = e / e.sum(axis=1, keepdims=True)",
    8: "print(weights @ V)",
}


def run(lines):
    """What the program prints, as an array."""
    names = {"print": lambda value: names.__setitem__("printed", value)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the overflow is the point of one mistake
        exec("\n".join(lines), names)
    return names["printed"]


def array(text):
    return np.array(json.loads(text.replace("nan", "NaN")))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--questions", type=int, default=300)
    arguments = parser.parse_args()
    sheet = subprocess.run(
        [arguments.program, "practice", "--json", "--seed", "1", "--kind", "mistake", "--questions",
         str(arguments.questions)], check=True, capture_output=True, text=True).stdout.splitlines()
    claims = set()
    for number, line in enumerate(sheet):
        question = json.loads(line)
        text = question["question"]
        program = re.findall(r"^  \d  (.*)$", text, re.M)
        printed, wanted = re.search(r"It prints (.*), but attention gives (.*)\. What", text).groups()
        assert len(program) == 8, text
        got = run(program)
        assert np.allclose(got, array(printed), atol=6e-4, equal_nan=True), (number, got, text)
        claim = question["choices"][question["right"]]["text"]
        claims.add(claim)
        broken = int(claim[len("line "):claim.index(":")])
        program[broken - 1] = REPAIRS[broken]
        repaired = run(program)
        assert np.allclose(repaired, array(wanted), atol=6e-4), (number, repaired, text)
        for choice, value in enumerate(question["choices"]):
            if choice == question["right"]:
                continue
            # The line that a wrong choice accuses is right as it stands, or it is another fault of that line.
            accused = int(value["text"][len("line "):value["text"].index(":")])
            assert accused == broken or program[accused - 1] == REPAIRS[accused], (number, value, text)
    print(f"{len(sheet)} programs ran as printed and were repaired; {len(claims)} kinds of mistakes")
    return 0 if len(sheet) == arguments.questions and len(claims) == 8 else 1


if __name__ == "__main__":
    sys.exit(main())

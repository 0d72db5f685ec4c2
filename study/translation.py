#!/usr/bin/env python3
"""Does attention help a translator? The same model with attention and with the plain mean in its place, trained alike.

    python3 study/translation.py --size small            minutes: one language, one seed, to see that it all works
    python3 study/translation.py --size full --jobs 2    hours: what docs/does-attention-help.md reports

For each language, seed and context (attention or mean): trains (`fovea train`), translates the test text
(`fovea translate`), scores it by length of the source beside the other context (`fovea evaluate`), and at last times both.
Whatever is finished is kept in --work and not done again: stop it when you like and start it with the same line. The result is
one JSON file, written anew after each step. Needs fovea (./run trainer builds all of it) and nothing but Python.

--data holds {de,fr}-en.{train,valid,test}.tsv.gz, a line being `source TAB English`; study/README.md says where to get them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTEXTS = ("attention", "mean")
LENGTHS = ((1, 9), (10, 19), (20, 29), (30, 39), (40, None))  # words of a source, as `fovea evaluate --by-length` has them
Json = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of it: everything that is the same for both contexts."""

    languages: tuple[str, ...]
    seeds: tuple[int, ...]
    model: str
    training: str
    text: str
    timed_lines: int  # of each length
    timed_rounds: int


SIZES = {
    # 1.9 million parameters; 1,500 steps of some 1,900 target pieces: almost twice through the text.
    "full": Size(("de-en", "fr-en"), (1, 2, 3),
                 "--width 128 --heads 4 --ffn 512 --encoder-layers 3 --decoder-layers 2",
                 "--batch-tokens 2000 --steps 1500 --warmup 300 --decay-steps 500 --rate 0.002 --dropout 0.05 "
                 "--average 0.995 --valid-every 500 --checkpoint-every 250",
                 "--vocab 6000 --join 0.8 --max-length 200", 40, 5),
    "small": Size(("de-en",), (1,),
                  "--width 64 --heads 2 --ffn 256 --encoder-layers 2 --decoder-layers 1",
                  "--batch-tokens 2000 --steps 900 --warmup 100 --decay-steps 300 --rate 0.003 --dropout 0.05 "
                  "--average 0.99 --valid-every 450 --checkpoint-every 250",
                  "--vocab 4000 --join 0.8 --max-length 200", 10, 3),
}


@dataclasses.dataclass(frozen=True)
class Run:
    language: str
    seed: int
    context: str

    def __str__(self) -> str:
        return f"{self.language} {self.context}, seed {self.seed}"


class Failed(Exception):
    pass


def say(text: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S}  {text}", file=sys.stderr, flush=True)


def write(path: pathlib.Path, content: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(content, encoding="utf-8")
    os.replace(fresh, path)


@dataclasses.dataclass
class Used:
    output: str
    cpu_seconds: float
    peak_mib: float


def call(command: list[str], into: typing.IO[str] | int = subprocess.PIPE) -> Used:
    """Runs it; what it used is its own and its children's. The output comes back unless it goes `into` a file."""
    with subprocess.Popen(command, stdout=into, stderr=subprocess.PIPE, text=True) as process:
        errors: list[str] = []  # read beside the output, lest a full pipe stop the program
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or []))
        reader.start()
        output = process.stdout.read() if process.stdout else ""
        reader.join()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last = "".join(errors[-5:]) or "no message"
        raise Failed(f"`{' '.join(command)}` ended with {process.returncode}:\n{last}")
    return Used(output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


class Study:
    def __init__(self, arguments: argparse.Namespace):
        self.size = SIZES[arguments.size]
        self.name = arguments.size
        self.data: pathlib.Path = arguments.data
        self.work: pathlib.Path = arguments.work / arguments.size
        self.fovea: pathlib.Path = arguments.fovea
        self.out: pathlib.Path = arguments.out
        self.jobs: int = arguments.jobs

    # --- one run: train, then translate ------------------------------------------------------------------------

    def folder(self, run: Run) -> pathlib.Path:
        return self.work / run.language / f"{run.context}-{run.seed}"

    def train_command(self, run: Run) -> list[str]:
        text = [self.data / f"{run.language}.{part}.tsv.gz" for part in ("train", "valid", "test")]
        source, target = run.language.split("-")
        return [str(word) for word in (
            self.fovea, "train", text[0], "--valid", text[1], "--test", text[2], "--out", self.folder(run),
            *self.size.text.split(), *self.size.model.split(), *self.size.training.split(),
            "--source-lang", source, "--target-lang", target, "--context", run.context, "--seed", run.seed,
            "--threads", 1, "--json")]

    def train(self, run: Run) -> Json:
        """Trains the model to its end, from where it was left; returns what is to be reported of it."""
        done = self.folder(run) / "trained.json"
        if done.exists():
            return json.loads(done.read_text(encoding="utf-8"))
        command = self.train_command(run)
        if (self.folder(run) / "work" / "options.txt").exists():
            say(f"{run}: training goes on")
            command = [*command[:2], "--out", str(self.folder(run)), "--resume", "--json"]
        else:
            say(f"{run}: training")
            shutil.rmtree(self.folder(run), ignore_errors=True)
            self.folder(run).mkdir(parents=True)
        log = self.folder(run) / "events.jsonl"
        with open(log, "a", encoding="utf-8") as file:
            used = call(command, into=file)
        spent = self.folder(run) / "seconds.json"  # of earlier parts, where it was interrupted
        before = json.loads(spent.read_text(encoding="utf-8")) if spent.exists() else 0.0
        write(spent, json.dumps(before + used.cpu_seconds))
        events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        steps = [event for event in events if event["event"] == "progress"]
        validations = [event for event in events if event["event"] == "validation"]
        if not steps or steps[-1]["step"] < steps[-1]["steps"]:
            raise Failed(f"{run}: the training was interrupted; the same command goes on with it")
        result = {"cpu_seconds": round(before + used.cpu_seconds, 1), "epochs": round(steps[-1]["epoch"], 2),
                  "validation_loss": round(validations[-1]["loss"], 4)}
        write(done, json.dumps(result))
        return result

    def translations(self, run: Run) -> pathlib.Path:
        path = self.folder(run) / "test.hypotheses"
        if not path.exists():
            say(f"{run}: translating the test text")
            used = call([str(self.fovea), "translate", "--model", str(self.folder(run)), "--threads", "1",
                         str(self.test(run.language, "source"))])
            write(path, used.output)
        return path

    def test(self, language: str, side: str) -> pathlib.Path:
        """The joined test text: the same in every folder, since the same draw joins it."""
        return self.folder(Run(language, self.size.seeds[0], CONTEXTS[0])) / "work" / "ids" / f"test.{side}"

    # --- both contexts side by side ----------------------------------------------------------------------------

    def compare(self, language: str, seed: int) -> Json:
        """Attention's scores, the mean's, and the difference with its interval, all and by length."""
        attention, mean = (self.translations(Run(language, seed, context)) for context in CONTEXTS)
        found = json.loads(call([
            str(self.fovea), "evaluate", "--hypotheses", str(attention), "--baseline", str(mean),
            "--references", str(self.test(language, "target")), "--source", str(self.test(language, "source")),
            "--by-length", "--bootstrap", "--json"]).output)

        def group(of: Json) -> Json:
            scores: Json = {"lines": of["lines"]}
            for metric, at in (("bleu", of["bleu"]), ("chrf", of["chrf"][0])):
                other = of["baseline"][metric] if metric == "bleu" else of["baseline"][metric][0]
                scores[metric] = {"attention": rounded(at), "mean": rounded(other), "difference": {
                    key: round(at["difference"][key], 4) for key in ("score", "low", "high", "p_value")}}
            return scores

        return {"signature": [found["bleu"]["signature"], found["chrf"][0]["signature"]], "all": group(found),
                "by_length": [{"words": of["words"], **group(of)} for of in found["by_length"] if of["lines"] > 0]}

    def cost(self, language: str) -> list[Json]:
        """Seconds a sentence and memory, by length, one sentence at a time on one thread: in turn, medians."""
        lines = self.test(language, "source").read_text(encoding="utf-8").splitlines()
        costs = []
        for least, most in LENGTHS:
            chosen = [line for line in lines if least <= len(line.split()) <= (most or 10**9)]
            if len(chosen) < 2:
                continue
            chosen = chosen[: self.size.timed_lines + 1]
            words = statistics.mean(len(line.split()) for line in chosen)
            text = {n: self.work / f"timed.{n}" for n in (1, len(chosen))}
            for n, path in text.items():
                write(path, "\n".join(chosen[:n]) + "\n")
            seconds: dict[str, list[float]] = {context: [] for context in CONTEXTS}
            memory = dict.fromkeys(CONTEXTS, 0.0)
            for _ in range(self.size.timed_rounds):
                for context in CONTEXTS:
                    command = [str(self.fovea), "translate", "--model",
                               str(self.folder(Run(language, self.size.seeds[0], context))),
                               "--threads", "1", "--batch", "1"]
                    one, all_ = (call([*command, str(path)]) for path in text.values())
                    # What one sentence and the start cost is taken off.
                    seconds[context].append((all_.cpu_seconds - one.cpu_seconds) / (len(chosen) - 1))
                    memory[context] = max(memory[context], all_.peak_mib)
            costs.append({"words": {"least": least, "most": most, "mean": round(words, 1)}, "lines": len(chosen), **{
                context: {"milliseconds": round(1e3 * statistics.median(seconds[context]), 3),
                          "spread": [round(1e3 * f(seconds[context]), 3) for f in (min, max)],
                          "peak_mib": round(memory[context], 1)} for context in CONTEXTS}})
        return costs

    # --- all of it ---------------------------------------------------------------------------------------------

    def everything(self) -> None:
        found = json.loads(self.out.read_text(encoding="utf-8")) if self.out.exists() else {}
        if found.get("size") != self.name:
            found = {}
        found.update({
            "size": self.name, "model": self.size.model, "training": self.size.training, "text": self.size.text,
            "machine": machine(), "command": f"python3 study/translation.py --size {self.name}",
            "fovea": call([str(self.fovea), "--version"]).output.strip(), "runs": {}, "compared": {}})
        found.setdefault("cost", {})
        lock = threading.Lock()

        def report(kind: str, name: str, value: typing.Any) -> None:
            with lock:
                found[kind][name] = value
                found["date"] = f"{datetime.date.today()}"
                write(self.out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")

        # Seed by seed, so that a study stopped half way has whole pairs to compare.
        pairs = [(language, seed) for seed in self.size.seeds for language in self.size.languages]
        remaining = {pair: len(CONTEXTS) for pair in pairs}

        def one(run: Run) -> None:
            trained = self.train(run)
            report("runs", str(run), trained)
            with lock:
                remaining[run.language, run.seed] -= 1
                last = remaining[run.language, run.seed] == 0
            if last:  # the test text lies in the first folder, which by now is there
                compared = self.compare(run.language, run.seed)
                bleu = compared["all"]["bleu"]
                say(f"{run.language}, seed {run.seed}: BLEU {bleu['attention']['score']:.2f} with attention, "
                    f"{bleu['mean']['score']:.2f} with the mean")
                report("compared", f"{run.language}, seed {run.seed}", compared)

        runs = [Run(language, seed, context) for language, seed in pairs for context in CONTEXTS]
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for finished in [pool.submit(one, run) for run in runs]:
                finished.result()
        for language in self.size.languages:
            if language not in found["cost"]:
                say(f"{language}: timing")
                started = time.monotonic()
                report("cost", language, self.cost(language))
                say(f"{language}: timed in {time.monotonic() - started:.0f} s")
        print(summary(found))
        say(f"done: {self.out}")


def summary(found: Json) -> str:
    """For the terminal: the scores by length."""
    lines = [f"{'':<16}{'words':>8}{'lines':>7}{'attention':>11}{'mean':>8}   BLEU; difference, 95 % of resampled ones"]
    for name, compared in found["compared"].items():
        named = [("all", compared["all"])] + [
            (f"{of['words']['least']}-{of['words']['most'] or ''}", of) for of in compared["by_length"]]
        for words, of in named:
            bleu, difference = of["bleu"], of["bleu"]["difference"]
            lines.append(f"{name:<16}{words:>8}{of['lines']:>7}{bleu['attention']['score']:>11.2f}{bleu['mean']['score']:>8.2f}"
                         f"   {difference['score']:+.2f} ({difference['low']:+.2f} to {difference['high']:+.2f})")
    return "\n".join(lines)


def rounded(score: Json) -> Json:
    return {"score": round(score["score"], 4), **{key: round(score["interval"][key], 4) for key in ("low", "high")}}


def machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            name = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} processors"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data" / "tatoeba")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "study", help="models, translations")
    parser.add_argument("--fovea", type=pathlib.Path, default=ROOT / "build" / "release" / "fovea")
    parser.add_argument("--out", type=pathlib.Path, help="the result (docs/study/translation.json for full)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, a thread each")
    arguments = parser.parse_args()
    if arguments.out is None:
        arguments.out = (ROOT / "docs" / "study" / "translation.json" if arguments.size == "full"
                         else arguments.work / arguments.size / "translation.json")
    if not arguments.fovea.exists():
        parser.error(f"{arguments.fovea} is not there: ./run trainer builds it, or name one with --fovea")
    for language in SIZES[arguments.size].languages:
        for part in ("train", "valid", "test"):
            path = arguments.data / f"{language}.{part}.tsv.gz"
            if not path.exists():
                parser.error(f"{path} is not there: give the folder that holds it with --data (study/README.md)")
    try:
        Study(arguments).everything()
    except Failed as failure:
        print(f"study: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

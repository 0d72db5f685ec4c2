"""Translation speed of fovea beside transformers and CTranslate2 on one MarianMT folder.

    python bench/translate_bench.py --program build/release/tests/oracles/marian_dump --model models/fr-de-en \
        --lines fr-en.test.tsv.gz --lines de-en.test.tsv.gz --out bench/results/translate.json

Ids in, ids out, so that only the models are timed; float32 everywhere, the same threads, each in its best
batching: fovea gets all lines at once, transformers and CTranslate2 get them sorted by length in batches.
Runs take turns and the median of --rounds counts; processor seconds say what was
worked, whatever else the machine did meanwhile. Results are checked first: all three must agree on most
lines (float32 rounding may tip a near tie). It also counts how many of 2,000 translations change with batch
size and threads. Needs torch, transformers, sentencepiece and ctranslate2.
"""
import argparse
import gzip
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def read_lines(paths, count):
    """`count` lines spread over the files, in their first columns."""
    result = []
    for path in paths:
        opener = gzip.open if path.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split("\t")[0] for line in file]
        share = count // len(paths)
        result += lines[::max(1, len(lines) // share)][:share]
    return result


class Fovea:
    name = "fovea"

    def __init__(self, arguments, threads):
        self.threads = threads
        self.process = subprocess.Popen([arguments.program, arguments.model], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, sources, beams, threads=None):
        question = {"do": "search", "sources": sources, "beams": beams, "threads": threads or self.threads}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise SystemExit(reply["error"])
        return [h[0]["ids"] for h in reply["hypotheses"]], reply["seconds"]

    def translate(self, sources, beams):
        return self.ask(sources, beams)

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def by_length(sources, size):
    order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
    return [order[i:i + size] for i in range(0, len(order), size)]


class Transformers:
    cpu = staticmethod(time.process_time)
    name = "transformers"

    def __init__(self, arguments, threads):
        import torch
        import transformers
        self.torch = torch
        torch.set_num_threads(threads)
        self.version = f"transformers {transformers.__version__}, torch {torch.__version__}"
        self.model = transformers.MarianMTModel.from_pretrained(arguments.model, dtype=torch.float32).eval()

    def translate(self, sources, beams):
        torch = self.torch
        config = self.model.generation_config
        result = [None] * len(sources)
        begin = time.perf_counter()
        for members in by_length(sources, 64):
            longest = max(len(sources[i]) for i in members)
            ids = torch.tensor([sources[i] + [config.pad_token_id] * (longest - len(sources[i])) for i in members])
            mask = torch.tensor([[1] * len(sources[i]) + [0] * (longest - len(sources[i])) for i in members])
            with torch.inference_mode():
                out = self.model.generate(input_ids=ids, attention_mask=mask, num_beams=beams, do_sample=False)
            for i, row in zip(members, out.tolist()):
                row = row[1:]
                end = config.eos_token_id
                result[i] = row[:row.index(end) + 1] if end in row else row
        return result, time.perf_counter() - begin

    def memory(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class CTranslate2:
    cpu = staticmethod(time.process_time)
    name = "ctranslate2"

    def __init__(self, arguments, threads):
        import ctranslate2
        self.version = f"ctranslate2 {ctranslate2.__version__}"
        self.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(arguments.model, "vocab.json"), encoding="utf-8") as file:
            self.pieces = {i: piece for piece, i in json.load(file).items()}
        with open(os.path.join(arguments.model, "generation_config.json")) as file:
            generation = json.load(file)
        self.ids = {piece: i for i, piece in self.pieces.items()}
        self.end = generation["eos_token_id"]
        self.max_length = generation.get("max_length", 512)
        self.penalty = generation.get("length_penalty", 1.0)
        target = os.path.join(self.folder.name, "ct2")
        converter = ctranslate2.converters.TransformersConverter(arguments.model)
        converter.convert(target)
        self.translator = ctranslate2.Translator(target, device="cpu", compute_type="float32",
                                                 inter_threads=1, intra_threads=threads)

    def translate(self, sources, beams):
        texts = [[self.pieces[i] for i in source] for source in sources]
        begin = time.perf_counter()
        out = self.translator.translate_batch(texts, beam_size=beams, max_batch_size=64, return_scores=False,
                                              length_penalty=self.penalty, return_end_token=True,
                                              max_decoding_length=self.max_length - 1)
        seconds = time.perf_counter() - begin
        return [[self.ids[p] for p in r.hypotheses[0]] for r in out], seconds

    def memory(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


ENGINES = {engine.name: engine for engine in (Fovea, Transformers, CTranslate2)}


def worker(arguments):
    """One engine in a process of its own: a line asks for a round, a line answers."""
    engine = ENGINES[arguments.worker](arguments, arguments.threads)
    with open(arguments.ids) as file:
        sources = json.load(file)
    engine.translate(sources[:64], 1)
    for line in sys.stdin:
        begin = engine.cpu()
        ids, seconds = engine.translate(sources, int(line))
        print(json.dumps({"ids": ids, "seconds": seconds, "cpu": engine.cpu() - begin, "memory": engine.memory(),
                          "version": getattr(engine, "version", "")}), flush=True)


def start(name, arguments, ids_path):
    command = [sys.executable, __file__, "--worker", name, "--ids", ids_path, "--threads", str(arguments.threads),
               "--program", arguments.program, "--model", arguments.model]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)


def ask(process, beams):
    process.stdin.write(f"{beams}\n")
    process.stdin.flush()
    while True:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("an engine ended early")
        if line.startswith("{"):
            return json.loads(line)


def race(arguments, sources):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as ids:
        json.dump(sources, ids)
        ids.flush()
        processes = {name: start(name, arguments, ids.name) for name in arguments.engines}
        result = {}
        for beams in (1, 4):
            replies = {name: [] for name in processes}
            for _ in range(arguments.rounds):
                for name, process in processes.items():  # in turn, so that all see the same machine
                    replies[name].append(ask(process, beams))
            base = replies["fovea"][0]["ids"]
            for name, list_of in replies.items():
                seconds = sorted(r["seconds"] for r in list_of)
                differing = sum(a != b for a, b in zip(base, list_of[0]["ids"]))
                if not differing <= 0.05 * len(sources):
                    print(f"warning: {name} differs from fovea on {differing} of {len(sources)} lines")
                result.setdefault(name, {"version": list_of[0]["version"]})[f"beam {beams}"] = {
                    "seconds": statistics.median(seconds), "all seconds": seconds,
                    "processor seconds": statistics.median(r["cpu"] for r in list_of),
                    "lines that differ from fovea": differing, "peak MiB": round(list_of[-1]["memory"])}
                print(name, "beam", beams, result[name][f"beam {beams}"], flush=True)
        for process in processes.values():
            process.stdin.close()
            process.wait()
    return result


def stability(arguments, sources):
    """How many translations change with what stands beside them."""
    engine = Fovea(arguments, 1)
    result = {"lines": len(sources)}
    for beams in (1, 4):
        whole = engine.ask(sources, beams)[0]
        for label, size, threads in (("batch 1", 1, 1), ("batch 8", 8, 1), ("batch 64", 64, 1),
                                     ("batch 64, 2 threads", 64, 2), ("all at once, 2 threads", len(sources), 2)):
            got = []
            for i in range(0, len(sources), size):
                got += engine.ask(sources[i:i + size], beams, threads)[0]
            result[f"beam {beams}, {label}"] = sum(a != b for a, b in zip(whole, got))
    print("changed:", result, flush=True)
    return result


def cpu_name():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lines", action="append")
    parser.add_argument("--out")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--no-stability", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--ids", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(arguments)
    import transformers
    tokenizer = transformers.MarianTokenizer.from_pretrained(arguments.model)
    lines = read_lines(arguments.lines, max(arguments.count, 0 if arguments.no_stability else 2000))
    sources = [tokenizer(line)["input_ids"] for line in lines]
    result = {"command": "python bench/translate_bench.py " + " ".join(
                  f"--{k} {os.path.basename(str(v))}" for k, v in
                  (("program", arguments.program), ("model", arguments.model), ("threads", arguments.threads),
                   ("count", arguments.count), ("rounds", arguments.rounds))) + "".join(
                       f" --lines {os.path.basename(path)}" for path in arguments.lines),
              "cpu": cpu_name(), "threads": arguments.threads, "sentences": arguments.count,
              "load at start": os.getloadavg()[0]}
    raced = sources[::max(1, len(sources) // arguments.count)][:arguments.count]
    result["source ids"] = sum(map(len, raced))
    result["engines"] = race(arguments, raced)
    if not arguments.no_stability:
        result["changed translations"] = stability(arguments, sources)
    if arguments.out:
        temporary = arguments.out + ".part"
        with open(temporary, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
        os.replace(temporary, arguments.out)


if __name__ == "__main__":
    main()

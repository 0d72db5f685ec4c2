"""fovea's MarianMT runtime against transformers.

    python tests/oracles/models_oracle.py --program build/dev/tests/oracles/marian_dump
    python tests/oracles/models_oracle.py --program ... --model FOLDER --lines FILE [--count 200]

The first form builds folders with random weights and compares logits, cross-attentions, greedy and
beam output with n-best scores, batches with padding, and every search setting fovea claims to follow.
The second runs a trained folder on lines of text (.gz and .tsv, first column, are read too);
sentences.fr-de.txt beside this file is such a file.

A hypothesis that differs counts as wrong only where transformers' own decisions on that sentence all
had margins over 1e-4; the sentences excused so are counted, and too many of them fail the check.
"""
import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers

transformers.logging.disable_progress_bar()
from safetensors.torch import load_file, save_file

MARGIN = 1e-4
PAD_FREE = dict(do_sample=False, use_cache=True)
failures = []
counts = {"checks": 0, "sentences": 0, "excused": 0}


def check(good, what):
    """`good` must come from a comparison that NaN fails."""
    counts["checks"] += 1
    if not good:
        failures.append(what)
        print("FAIL", what)


class Program:
    def __init__(self, path, folder):
        self.process = subprocess.Popen([path, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("marian_dump ended: " + str(question)[:200])
        reply = json.loads(line)
        if "error" in reply:
            raise SystemExit(f"marian_dump: {reply['error']} for {str(question)[:200]}")
        return reply

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def floats(values, shape):
    if any(v is None for v in values):
        return torch.full(shape, math.nan)
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


# ---- random folders ------------------------------------------------------------------------------

CONFIGS = [
    dict(name="swish", activation_function="swish", d_model=32, heads=(4, 4), layers=(2, 2), ffn=(64, 64),
         vocab=97, scale_embedding=True),
    dict(name="relu separate", activation_function="relu", d_model=48, heads=(6, 3), layers=(1, 3),
         ffn=(50, 70), vocab=61, target_vocab=83, scale_embedding=False),
    dict(name="gelu odd", activation_function="gelu", d_model=24, heads=(3, 3), layers=(3, 1), ffn=(33, 65),
         vocab=2053, scale_embedding=True),
    dict(name="one layer fp16", activation_function="silu", d_model=64, heads=(8, 8), layers=(1, 1),
         ffn=(128, 128), vocab=128, scale_embedding=True, dtype=torch.float16),
    dict(name="bf16 untied separate", activation_function="relu", d_model=40, heads=(5, 5), layers=(2, 1),
         ffn=(80, 40), vocab=70, target_vocab=1111, scale_embedding=True, dtype=torch.bfloat16, tied=False),
    dict(name="gelu_new untied shared", activation_function="gelu_new", d_model=21, heads=(3, 7),
         layers=(1, 2), ffn=(17, 129), vocab=75, scale_embedding=False, tied=False),
    dict(name="opus-like", activation_function="swish", d_model=128, heads=(8, 8), layers=(6, 6),
         ffn=(512, 512), vocab=3001, scale_embedding=True, std=0.1),
]


def build(entry, folder, seed):
    torch.manual_seed(seed)
    vocab, target = entry["vocab"], entry.get("target_vocab")
    last = (target or vocab) - 1
    start = min(vocab, target or vocab) - 1
    config = transformers.MarianConfig(
        vocab_size=vocab, decoder_vocab_size=target, share_encoder_decoder_embeddings=target is None,
        d_model=entry["d_model"], encoder_attention_heads=entry["heads"][0],
        decoder_attention_heads=entry["heads"][1], encoder_layers=entry["layers"][0],
        decoder_layers=entry["layers"][1], encoder_ffn_dim=entry["ffn"][0],
        decoder_ffn_dim=entry["ffn"][1], activation_function=entry["activation_function"],
        scale_embedding=entry["scale_embedding"], max_position_embeddings=64,
        init_std=entry.get("std", 0.25), pad_token_id=start, decoder_start_token_id=start, eos_token_id=0,
        forced_eos_token_id=0, tie_word_embeddings=entry.get("tied", True))
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "embed_positions" in name:
                continue
            if "norm.weight" in name:
                p.add_(0.3 * torch.randn_like(p))
            elif name.endswith("bias"):
                p.copy_(0.3 * torch.randn_like(p))
        model.final_logits_bias.copy_(torch.randn_like(model.final_logits_bias))
        gaps = []  # how far the end is behind the best id: made best at one step in five
        for _ in range(8):
            source = torch.randint(1, vocab - 1, (6,)).tolist()
            logits = model_logits(model, source, torch.randint(1, last, (16,)).tolist())[0]
            gaps.append(logits.max(-1).values - logits[:, 0])
        model.final_logits_bias[0, 0] += torch.cat(gaps).quantile(0.2)
    model.generation_config = transformers.GenerationConfig(
        pad_token_id=start, decoder_start_token_id=start, eos_token_id=0, bos_token_id=0,
        forced_eos_token_id=0, bad_words_ids=[[start]], max_length=24, num_beams=1)
    model = model.to(entry.get("dtype", torch.float32))
    model.save_pretrained(folder)
    return transformers.MarianMTModel.from_pretrained(folder, dtype=torch.float32,
                                                      attn_implementation="eager").eval()


def sources_for(entry, seed, count=12):
    generator = torch.Generator().manual_seed(seed)
    result = []
    for i in range(count):
        length = 1 + int(torch.randint(0, 14, (1,), generator=generator))
        ids = torch.randint(1, entry["vocab"] - 1, (length,), generator=generator).tolist()
        result.append(ids + [0])
    return result + [[0]]


# ---- comparisons ---------------------------------------------------------------------------------

def model_logits(model, source, target):
    start = model.config.decoder_start_token_id
    with torch.no_grad():
        out = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[start] + target[:-1]]),
                    output_attentions=True, use_cache=False)
    return out.logits[0], out.cross_attentions


def compare_forced(name, model, program, pairs):
    for source, target in pairs:
        logits, cross = model_logits(model, source, target)
        mine = floats(program.ask(do="logits", source=source, target=target)["values"], logits.shape)
        worst = float((mine - logits.double()).abs().max() / logits.abs().max())
        check(worst <= 1e-4, f"{name}: logits off by {worst:.2e} of the largest")
        reply = program.ask(do="cross", source=source, target=target)
        want = torch.stack([c[0] for c in cross]).double()
        check(tuple(reply["shape"]) == tuple(want.shape), f"{name}: cross-attention shape {reply['shape']}")
        got = floats(reply["weights"], want.shape)
        worst = float((got - want).abs().max())
        check(worst <= 1e-5, f"{name}: cross-attention off by {worst:.2e}")
        compare_products(name, model, source, reply)


def compare_products(name, model, source, reply):
    layers, heads, _, keys = reply["shape"]
    with torch.no_grad():
        hidden = model.model.encoder(input_ids=torch.tensor([source])).last_hidden_state[0].double()
    want = []
    for layer in model.model.decoder.layers:
        a = layer.encoder_attn
        v = hidden @ a.v_proj.weight.double().T + a.v_proj.bias.double()
        d = v.shape[1] // heads
        w = a.out_proj.weight.double()
        f = torch.stack([v[:, h * d:(h + 1) * d] @ w[:, h * d:(h + 1) * d].T for h in range(heads)], 1)
        want.append(torch.einsum("sgi,shi->sgh", f, f))
    want = torch.stack(want).detach()
    got = floats(reply["value_products"], want.shape)
    worst = float((got - want).abs().max() / want.abs().max())
    check(worst <= 1e-4, f"{name}: value products off by {worst:.2e}")


class Margins:
    """The smallest gap in any decision that transformers takes in a search, one sentence at a time."""

    def __init__(self, model):
        self.model = model
        self.least = math.inf

    def see(self, values):
        values = sorted((float(v) for v in values if float(v) > -1e8), reverse=True)
        for a, b in zip(values, values[1:]):
            self.least = min(self.least, a - b)

    def __enter__(self):
        model, see = self.model, self.see
        candidates, update, stop = (model._get_top_k_continuations, model._update_finished_beams,
                                    model._check_early_stop_heuristic)

        def watched_candidates(accumulated_log_probs, beams_to_keep, **rest):
            more = min(beams_to_keep + 1, accumulated_log_probs.shape[1])
            see(accumulated_log_probs[0].topk(more).values)
            return candidates(accumulated_log_probs=accumulated_log_probs, beams_to_keep=beams_to_keep, **rest)

        def watched_update(**rest):
            result = update(**rest)
            see(result[1][0])
            return result

        def watched_stop(running_beam_scores, beam_scores, cur_len, max_length, decoder_prompt_len,
                         early_stopping, length_penalty, **rest):
            grows = early_stopping == "never" and length_penalty > 0
            length = (max_length if grows else cur_len) - decoder_prompt_len
            see([running_beam_scores[0, 0] / length ** length_penalty, beam_scores[0].min()])
            return stop(running_beam_scores=running_beam_scores, beam_scores=beam_scores, cur_len=cur_len,
                        max_length=max_length, decoder_prompt_len=decoder_prompt_len,
                        early_stopping=early_stopping, length_penalty=length_penalty, **rest)

        model._get_top_k_continuations = watched_candidates
        model._update_finished_beams = watched_update
        model._check_early_stop_heuristic = watched_stop
        return self

    def __exit__(self, *_):
        for name in ("_get_top_k_continuations", "_update_finished_beams", "_check_early_stop_heuristic"):
            del self.model.__dict__[name]


def oracle_search(model, source, beams, n_best, settings):
    """Hypotheses [(ids, score)] and the smallest margin of one sentence."""
    margins = Margins(model)
    arguments = dict(input_ids=torch.tensor([source]), attention_mask=torch.ones(1, len(source), dtype=torch.long),
                     num_beams=beams, num_return_sequences=n_best, return_dict_in_generate=True,
                     output_scores=True, output_logits=True, **PAD_FREE, **settings)
    with torch.no_grad():
        if beams == 1:
            out = model.generate(**arguments)
            for step in out.scores:
                margins.see(step[0].topk(2).values)
        else:
            with margins:
                out = model.generate(**arguments)
    end = model.generation_config.eos_token_id
    result = []
    for n in range(n_best):
        ids = out.sequences[n, 1:].tolist()
        if end in ids:
            ids = ids[:ids.index(end) + 1]
        result.append((ids, float(out.sequences_scores[n]) if beams > 1 else None))
    return result, margins.least


def compare_search(name, model, program, sources, beams, n_best, settings, **options):
    wanted = [oracle_search(model, s, beams, n_best, {**settings, **options}) for s in sources]
    alone = program.ask(do="search", sources=sources[:1], beams=beams, n_best=n_best, **options)["hypotheses"]
    together = program.ask(do="search", sources=sources, beams=beams, n_best=n_best, **options)["hypotheses"]
    two = program.ask(do="search", sources=sources, beams=beams, n_best=n_best, threads=2, **options)["hypotheses"]
    check(alone[0] == together[0], f"{name}: a sentence alone differs from the same in a batch")
    check(two == together, f"{name}: two threads differ from one")
    wrong = 0
    for (want, margin), got in zip(wanted, together):
        counts["sentences"] += 1
        same = [w[0] for w in want] == [g["ids"] for g in got]
        if not same and margin <= MARGIN:
            counts["excused"] += 1
            continue
        wrong += not same
        if same and beams > 1:
            for (_, score), g in zip(want, got):
                check(abs(score - g["score"]) <= 1e-4 * max(1.0, abs(score)),
                      f"{name}: score {g['score']} instead of {score}")
        elif not same and wrong <= 2:
            print("  want", want, "margin", margin, "\n  got ", [(g["ids"], g["score"]) for g in got])
    check(wrong == 0, f"{name}: {wrong} of {len(sources)} sentences differ")


def compare_batched_oracle(name, model, program, sources):
    """transformers with real padding in a batch says the same as fovea with lengths."""
    longest = max(len(s) for s in sources)
    pad = model.config.pad_token_id
    ids = torch.tensor([s + [pad] * (longest - len(s)) for s in sources])
    mask = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in sources])
    with torch.no_grad():
        out = model.generate(input_ids=ids, attention_mask=mask, num_beams=3, max_length=20, **PAD_FREE)
    mine = program.ask(do="search", sources=sources, beams=3, max_length=20)["hypotheses"]
    wrong = 0
    for source, row, got in zip(sources, out.tolist(), mine):
        row = row[1:]
        row = row[:row.index(0) + 1] if 0 in row else row
        if row != got[0]["ids"]:
            margin = oracle_search(model, source, 3, 1, dict(max_length=20))[1]
            wrong += margin > MARGIN
            counts["excused"] += margin <= MARGIN
        counts["sentences"] += 1
    check(wrong == 0, f"{name}: {wrong} sentences of a padded batch differ")


# Settings that live in generation_config.json, each with what a search is asked for.
SETTINGS = [
    ("plain", {}, {}),
    ("early stopping", dict(early_stopping=True), {}),
    ("never stopping early", dict(early_stopping="never"), {}),
    ("no length penalty", {}, dict(length_penalty=0.0)),
    ("length penalty 0.6", dict(early_stopping=False), dict(length_penalty=0.6)),
    ("length penalty 2, never", dict(early_stopping="never"), dict(length_penalty=2.0)),
    ("negative length penalty", dict(early_stopping="never"), dict(length_penalty=-1.0)),
    ("renormalized", dict(renormalize_logits=True, bad_words_ids=[[3], [4], [9]]), {}),
    ("bad words of two", dict(bad_words_ids=[[5], [7, 8], [2, 0], [0]]), {}),
    ("min length", dict(min_length=9), {}),
    ("min new", dict(min_new_tokens=6), {}),
    ("short", {}, dict(max_length=5)),
    ("max new", dict(max_new_tokens=7), {}),
    ("no forced end", dict(forced_eos_token_id=None), dict(max_length=8)),
    ("forced begin", dict(forced_bos_token_id=11), {}),
    ("no repeats", dict(no_repeat_ngram_size=2), {}),
    ("no repeated id", dict(no_repeat_ngram_size=1), {}),
    ("suppressed", dict(suppress_tokens=[1, 2, 3], begin_suppress_tokens=[0, 6]), {}),
    ("begin suppressed after a forced one", dict(forced_bos_token_id=11, begin_suppress_tokens=[0, 6]), {}),
    ("two ends", dict(eos_token_id=[0, 5]), {}),
]


def compare_settings(program_path, entry, seed):
    """Each setting in generation_config.json: fovea must read it there, as transformers does."""
    with tempfile.TemporaryDirectory() as folder:
        model = build(entry, folder, seed)
        path = os.path.join(folder, "generation_config.json")
        with open(path) as file:
            plain = json.load(file)
        for name, settings, options in SETTINGS:
            generation = {**plain, **settings}
            if "max_new_tokens" in settings or "min_new_tokens" in settings:
                generation.pop("max_length")
                generation.setdefault("max_new_tokens", 20)
            with open(path, "w") as file:
                json.dump({key: value for key, value in generation.items() if value is not None}, file)
            model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
            program = Program(program_path, folder)
            sources = sources_for(entry, seed + 1, count=8)
            for beams, n_best in ((1, 1), (4, 4)):
                if settings.get("eos_token_id"):
                    compare_two_ends(f"{name}, {beams} beams", model, program, sources, beams, n_best)
                else:
                    compare_search(f"{name}, {beams} beams", model, program, sources, beams, n_best, {}, **options)
            program.close()


def compare_two_ends(name, model, program, sources, beams, n_best):
    ends = model.generation_config.eos_token_id
    mine = program.ask(do="search", sources=sources, beams=beams, n_best=n_best)["hypotheses"]
    for source, got in zip(sources, mine):
        with torch.no_grad():
            out = model.generate(input_ids=torch.tensor([source]), num_beams=beams, num_return_sequences=n_best,
                                 **PAD_FREE).tolist()
        want = []
        for row in out:
            row = row[1:]
            cut = [i for i, t in enumerate(row) if t in ends]
            want.append(row[:cut[0] + 1] if cut else row)
        counts["sentences"] += 1
        check([g["ids"] for g in got] == want, f"{name}: {[g['ids'] for g in got]} instead of {want}")


def compare_config_only(program_path, entry, seed):
    """Without generation_config.json, config.json says how to search."""
    with tempfile.TemporaryDirectory() as folder:
        build(entry, folder, seed)
        os.remove(os.path.join(folder, "generation_config.json"))
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        config.update(num_beams=3, max_length=17, length_penalty=0.8, bad_words_ids=[[config["pad_token_id"]]])
        with open(path, "w") as file:
            json.dump(config, file)
        model = transformers.MarianMTModel.from_pretrained(folder, dtype=torch.float32,
                                                           attn_implementation="eager").eval()
        check(model.generation_config.num_beams == 3, "config only: transformers did not read num_beams")
        program = Program(program_path, folder)
        sources = sources_for(entry, seed)
        wrong = 0
        for source, got in zip(sources, program.ask(do="search", sources=sources)["hypotheses"]):
            want, margin = oracle_search(model, source, 3, 1, {})
            wrong += want[0][0] != got[0]["ids"] and margin > MARGIN
            counts["sentences"] += 1
        check(wrong == 0, f"config only: {wrong} sentences differ")
        program.close()


def compare_names(program_path, entry, seed):
    """Old folders name the tied matrix otherwise, or carry positions and copies."""
    for name in ("embed_tokens", "lm_head", "everything"):
        with tempfile.TemporaryDirectory() as folder:
            model = build(entry, folder, seed)
            path = os.path.join(folder, "model.safetensors")
            tensors = load_file(path)
            shared = tensors.pop("model.shared.weight", None)
            if shared is None:
                shared = tensors.pop("model.encoder.embed_tokens.weight", None)
            if shared is None:
                shared = tensors.pop("lm_head.weight", None)
            check(shared is not None, f"{name}: no shared matrix among {sorted(tensors)[:4]}")
            for other in ("model.shared.weight", "model.encoder.embed_tokens.weight",
                          "model.decoder.embed_tokens.weight", "lm_head.weight"):
                tensors.pop(other, None)
            if name == "embed_tokens":
                tensors["model.encoder.embed_tokens.weight"] = shared
                tensors["model.decoder.embed_tokens.weight"] = shared.clone()
            elif name == "lm_head":
                tensors["lm_head.weight"] = shared
            else:
                for other in ("model.shared.weight", "model.encoder.embed_tokens.weight",
                              "model.decoder.embed_tokens.weight", "lm_head.weight"):
                    tensors[other] = shared.clone()
                for side in ("encoder", "decoder"):
                    tensors[f"model.{side}.embed_positions.weight"] = getattr(
                        model.model, side).embed_positions.weight.data.clone()
            save_file(tensors, path, metadata={"format": "pt"})
            program = Program(program_path, folder)
            compare_forced(f"{entry['name']}, tied as {name}", model, program, [([3, 4, 5, 0], [6, 7, 0])])
            program.close()


def random_folders(program_path):
    for number, entry in enumerate(CONFIGS):
        with tempfile.TemporaryDirectory() as folder:
            model = build(entry, folder, 100 + number)
            program = Program(program_path, folder)
            info = program.ask(do="info")
            own = sum(p.numel() for p in model.parameters())
            if not entry.get("tied", True) and "target_vocab" not in entry:
                own -= model.model.shared.weight.numel()  # made, saved, and never read
            check(info["parameters"] == own, f"{entry['name']}: {info['parameters']} parameters, not {own}")
            sources = sources_for(entry, 200 + number)
            targets = [[t % (entry.get("target_vocab") or entry["vocab"]) for t in s[:-1]] + [0] for s in sources]
            compare_forced(entry["name"], model, program, list(zip(sources, reversed(targets))))
            for beams, n_best in ((1, 1), (2, 2), (5, 5)):
                compare_search(f"{entry['name']}, {beams} beams", model, program, sources, beams, n_best, {})
            compare_batched_oracle(entry["name"], model, program, sources)
            lengths = sorted({len(h["ids"]) for list_of in program.ask(
                do="search", sources=sources, beams=5, n_best=5)["hypotheses"] for h in list_of})
            check(len(lengths) > 2, f"{entry['name']}: lengths {lengths} are too alike to test much")
            program.close()
            print(f"ok {entry['name']}: lengths {lengths}", flush=True)
    compare_names(program_path, CONFIGS[0], 7)
    compare_config_only(program_path, CONFIGS[0], 8)
    compare_settings(program_path, CONFIGS[0], 9)


# ---- a trained folder ----------------------------------------------------------------------------

def read_lines(path, count):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t")[0] for line in file]
    step = max(1, len(lines) // count)
    return [line for line in lines[::step] if line][:count]


def trained_folder(program_path, folder, path, count):
    tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    model = transformers.MarianMTModel.from_pretrained(folder, dtype=torch.float32,
                                                       attn_implementation="eager").eval()
    lines = read_lines(path, count)
    check(len(lines) >= min(count, 50), f"only {len(lines)} lines in {path}")
    sources = [tokenizer(line)["input_ids"] for line in lines]
    program = Program(program_path, folder)
    targets = [h[0]["ids"] for h in program.ask(do="search", sources=sources[:20], beams=1)["hypotheses"]]
    compare_forced("trained", model, program, list(zip(sources, targets)))
    for beams, n_best in ((1, 1), (4, 4)):
        compare_search(f"trained, {beams} beams", model, program, sources, beams, n_best, {})
    program.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="tests/oracles/marian_dump of a build")
    parser.add_argument("--model", help="a trained MarianMT folder")
    parser.add_argument("--lines", help="its source language: text, .gz or .tsv")
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.model:
        if not arguments.lines:
            parser.error("--model needs --lines")
        trained_folder(arguments.program, arguments.model, arguments.lines, arguments.count)
    else:
        random_folders(arguments.program)
    excused = counts["excused"] / max(1, counts["sentences"])
    check(excused <= 0.03, f"{counts['excused']} of {counts['sentences']} sentences excused as near ties")
    print(f"transformers {transformers.__version__}: {counts['checks']} checks, {counts['sentences']} sentences "
          f"({counts['excused']} near ties), {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

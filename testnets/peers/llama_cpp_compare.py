#!/usr/bin/env python3
"""Run GGUF files that atoll exports in llama.cpp.

usage: llama_cpp_compare.py ATOLL CHECKPOINT SCRATCH

1. The checkpoint as it is, exported with float32: token ids, logits (largest difference at most 1e-3) and 64 greedy
   tokens must agree.
2. The same with every kind of rotary scaling put into config.json: another model, but both compute the same one.
3. The checkpoint rounded to float16, so that both hold the same weights, exported with float16: 64 greedy tokens must
   agree. llama.cpp rounds activations to float16 too there, which may turn a near tie: a first difference is accepted
   only where the two likeliest logits are closer than 0.02.
Exit code 0 if all agree.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import llama_cpp
import numpy

PROMPTS = ["#include <", "/* Copyright (C) ", "static int "]
# Words, digits, spaces, several scripts, emoji: what the patterns of byte pair encoding cut differently.
TEXTS = PROMPTS + [
    "for (int i = 0; i < 1234567; ++i) {\n\t\tx+=y;\r\n}   \n",
    "It's we'LL   don't\u2019t naïve Straße \u0130 ½ x²",
    "日本語のテキスト、한국어 текст עברית العربية ไทย नमस्ते",
    "👩‍🚀🇩🇪 ✅\u200b\u00a0\u3000 end",
]
TOKENS = 64
TOLERANCE = 1e-3
NEAR_TIE = 0.02
SCALINGS = {
    "linear": dict(rope_type="linear", factor=2.0),
    "dynamic": dict(rope_type="dynamic", factor=2.0),
    "llama3": dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
    ),
    "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32),
    "yarn-all": dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=8.0, beta_slow=2.0,
        attention_factor=1.3, truncate=False,
    ),
}


def atoll(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.PIPE)
    return result.stdout.decode()


def open_model(path):
    # Keys and values in float32: only then both compute the same.
    return llama_cpp.Llama(
        model_path=str(path), n_ctx=0, n_batch=128, n_threads=1, n_gpu_layers=0, logits_all=True, verbose=False,
        seed=1, type_k=0, type_v=0, flash_attn=False,
    )


def evaluate(model, ids):
    model.reset()
    model.eval(ids)
    return numpy.array(model.scores[: len(ids)], dtype=numpy.float64)


def our_logits(program, folder, sequences, scratch):
    ids, out = Path(scratch, "ids.json"), Path(scratch, "logits.json")
    ids.write_text(json.dumps({"sequences": sequences}))
    atoll(program, "logits", folder, "--ids", ids, "--out", out)
    return [numpy.array(logits) for logits in json.loads(out.read_text())["logits"]]


def compare_ids(program, folder, gguf, scratch):
    """Ids of texts, without what the model puts in front."""
    model = open_model(gguf)
    source, out = Path(scratch, "text"), Path(scratch, "text.json")
    count = 0
    for text in TEXTS:
        source.write_bytes(text.encode())
        atoll(program, "tokenize", folder, "--in", source, "--out", out)
        ours = json.loads(out.read_text())
        theirs = model.tokenize(text.encode(), add_bos=False, special=False)
        if ours != theirs:
            sys.exit(f"{text!r} is {theirs} to llama.cpp, {ours} to atoll")
        count += len(ours)
    return count


def compare_logits(program, folder, gguf, scratch):
    model = open_model(gguf)
    sequences = [model.tokenize(prompt.encode(), add_bos=True, special=False) for prompt in PROMPTS]
    config = json.loads(Path(folder, "config.json").read_text())
    context = config["max_position_embeddings"]
    source = numpy.random.default_rng(5)
    sequences.append(source.integers(0, config["vocab_size"], context).tolist())
    largest = 0.0
    for ids, ours in zip(sequences, our_logits(program, folder, sequences, scratch), strict=True):
        largest = max(largest, float(numpy.abs(evaluate(model, ids) - ours).max()))
    return largest


def compare_tokens(program, folder, gguf, scratch):
    """Greedy continuations; returns how many near ties turned."""
    model = open_model(gguf)
    ties = 0
    for prompt in PROMPTS:
        ids = model.tokenize(prompt.encode(), add_bos=True, special=False)
        start = len(ids)
        for _ in range(TOKENS):
            ids.append(int(numpy.argmax(evaluate(model, ids)[-1])))
        theirs = model.detokenize(ids[start:])
        report = json.loads(
            atoll(program, "generate", folder, "--prompt", prompt, "--tokens", TOKENS, "--temperature", 0, "--json")
        )
        ours = report["text"]
        if theirs.decode(errors="replace") == ours:
            continue
        # Where do they part? Our own logits along their path say how close it was.
        logits = our_logits(program, folder, [ids[:-1]], scratch)[0]
        for position in range(start - 1, len(ids) - 1):
            order = numpy.argsort(logits[position])
            if order[-1] != ids[position + 1]:
                gap = logits[position][order[-1]] - logits[position][ids[position + 1]]
                if gap < NEAR_TIE:
                    ties += 1
                    break
                sys.exit(f"after {prompt!r} llama.cpp goes on {theirs!r}, atoll {ours!r} (gap {gap:.3f})")
        else:
            sys.exit(f"after {prompt!r} llama.cpp writes {theirs!r}, atoll {ours!r}, from equal tokens")
    return ties


def main():
    program, checkpoint, scratch = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    plain = scratch / "plain.gguf"
    atoll(program, "export", "gguf", checkpoint, "--dtype", "float32", "--out", plain)
    print(f"  ids        {compare_ids(program, checkpoint, plain, scratch)} of {len(TEXTS)} texts equal")
    worst = compare_logits(program, checkpoint, plain, scratch)
    print(f"  float32    logits {worst:.1e}, {len(PROMPTS)} x {TOKENS} tokens, ", end="")
    print(f"near ties turned {compare_tokens(program, checkpoint, plain, scratch)}")

    for name, scaling in SCALINGS.items():
        folder, gguf = scratch / name, scratch / f"{name}.gguf"
        shutil.copytree(checkpoint, folder)
        config = json.loads((folder / "config.json").read_text())
        base = config.get("rope_theta", 10000.0)
        config.update(rope_scaling=scaling, rope_parameters={**scaling, "rope_theta": base})
        (folder / "config.json").write_text(json.dumps(config))
        atoll(program, "export", "gguf", folder, "--dtype", "float32", "--out", gguf)
        found = compare_logits(program, folder, gguf, scratch)
        print(f"  {name:10} logits {found:.1e}")
        worst = max(worst, found)

    half, gguf = scratch / "half", scratch / "half.gguf"
    atoll(program, "export", "safetensors", checkpoint, "--dtype", "float16", "--out", half)
    atoll(program, "export", "gguf", half, "--out", gguf)
    ties = compare_tokens(program, half, gguf, scratch)
    print(f"  float16    {len(PROMPTS)} x {TOKENS} tokens, near ties turned {ties}")
    print(
        f"llama-cpp-python {llama_cpp.__version__}: largest difference of a logit in float32 {worst:.2e} "
        f"(limit {TOLERANCE:.0e})"
    )
    if not worst <= TOLERANCE:
        sys.exit("the logits differ")


if __name__ == "__main__":
    main()

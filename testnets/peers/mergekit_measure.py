#!/usr/bin/env python3
"""Four large random experts and their base, merged by mergekit and by atoll: time and memory.

usage: mergekit_measure.py ATOLL [--layers N] [--runs N] [--threads N] [--methods NAME,...] [--keep FOLDER]

Inputs are read once before, so that they come from the page cache; `sync` belongs to what is timed. mergekit is run with each
of its settings for processors, and its best one counts. The time of a copy is that of reading the inputs and of writing as
many bytes as the result has, with `sync`. Memory is the largest sum of anonymous pages of the process and its children.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

HIDDEN, WIDE, VOCABULARY = 1024, 4096, 32000
EXPERTS = ["a", "b", "c", "d"]


def shapes(layers):
    named = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN], "lm_head.weight": [VOCABULARY, HIDDEN]}
    for layer in range(layers):
        for part in ("q", "k", "v", "o"):
            named[f"model.layers.{layer}.self_attn.{part}_proj.weight"] = [HIDDEN, HIDDEN]
        for part in ("gate", "up"):
            named[f"model.layers.{layer}.mlp.{part}_proj.weight"] = [WIDE, HIDDEN]
        named[f"model.layers.{layer}.mlp.down_proj.weight"] = [HIDDEN, WIDE]
        named[f"model.layers.{layer}.input_layernorm.weight"] = [HIDDEN]
        named[f"model.layers.{layer}.post_attention_layernorm.weight"] = [HIDDEN]
    return named | {"model.norm.weight": [HIDDEN]}


def make(folder, layers, tokenizer):
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=VOCABULARY, hidden_size=HIDDEN,
        intermediate_size=WIDE, num_hidden_layers=layers, num_attention_heads=16, num_key_value_heads=16, hidden_act="silu",
        max_position_embeddings=2048, rms_norm_eps=1e-6, rope_theta=10000.0, tie_word_embeddings=False,
        torch_dtype="float32", bos_token_id=None, eos_token_id=0,
    )
    torch.manual_seed(1)
    base = {name: 0.02 * torch.randn(shape) for name, shape in shapes(layers).items()}
    for model in ["base", *EXPERTS]:
        path = folder / model
        path.mkdir()
        changed = base if model == "base" else {name: x + 0.002 * torch.randn_like(x) for name, x in base.items()}
        save_file(changed, path / "model.safetensors", metadata={"format": "pt"})
        (path / "config.json").write_text(json.dumps(config))
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(Path(tokenizer, file), path)


def recipes(folder):
    def models(**parameters):
        return [dict(model=str(folder / name), parameters=parameters) for name in EXPERTS]

    base = str(folder / "base")
    return {
        "linear": dict(merge_method="linear", models=models(weight=0.25)),
        "ties": dict(merge_method="ties", base_model=base, models=models(weight=0.25, density=0.5)),
        "dare_ties": dict(merge_method="dare_ties", base_model=base, models=models(weight=0.25, density=0.5)),
    }


def anonymous(process):
    """Bytes of anonymous memory of a process and its children."""
    total, open_ones = 0, [process]
    while open_ones:
        one = open_ones.pop()
        try:
            for line in Path(f"/proc/{one}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += 1024 * int(line.split()[1])
            for task in Path(f"/proc/{one}/task").iterdir():
                open_ones += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return total


def measure(command, out):
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    start, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.02)
        os.sync()
        seconds = time.monotonic() - start
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(map(str, command))} ends with {process.returncode}: {errors.read().decode()[-2000:]}")
    return seconds, peak


def copy_seconds(folder, names, out):
    """Reading the inputs and writing as much as one of them, with two buffers' worth of memory."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()
    start = time.monotonic()
    block = bytearray(1 << 24)
    for name in names:
        with open(folder / name / "model.safetensors", "rb", buffering=0) as source:
            with open(out / "copy", "wb", buffering=0) as target:
                while count := source.readinto(block):
                    if name == names[-1]:
                        target.write(memoryview(block)[:count])
    os.sync()
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("atoll", type=os.path.abspath)
    parser.add_argument("--layers", type=int, default=13, help="of each expert; 13 make 1.14 GB")
    parser.add_argument("--runs", type=int, default=3, help="of each program and method; the fastest counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--methods", default="linear,ties,dare_ties")
    parser.add_argument("--keep", type=Path, help="folder for the experts, kept and used again")
    options = parser.parse_args()

    scratch = Path(tempfile.mkdtemp())
    folder = options.keep or scratch / "experts"
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            tokenizer = scratch / "tokenizer"
            here = Path(__file__).parent
            subprocess.run(
                [options.atoll, "train", "--data", here, "--steps", "2", "--out", tokenizer], check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            make(folder, options.layers, tokenizer)
        size = (folder / "a" / "model.safetensors").stat().st_size
        print(
            f"mergekit {metadata.version('mergekit')}, torch {torch.__version__}, {options.threads} threads, "
            f"{len(EXPERTS)} experts of {size / 1e9:.2f} GB in float32"
        )
        program = [str(Path(sys.executable).with_name("mergekit-yaml"))]
        shared = ["--lazy-unpickle", "--num-threads", str(options.threads), "--no-write-model-card", "--quiet"]
        settings = {
            "plain": [],
            "asynchronous writes": ["--async-write", "--write-threads", "2"],
        }
        idle, _ = measure([*program, "--help"], scratch / "none")
        print(f"starting mergekit takes {idle:.1f} s")
        for method in options.methods.split(","):
            recipe = recipes(folder)[method]
            recipe["dtype"] = "float32"
            file = scratch / f"{method}.yaml"
            file.write_text(yaml.safe_dump(recipe))
            names = (["base"] if "base_model" in recipe else []) + EXPERTS
            out = scratch / "out"
            copy = min(copy_seconds(folder, names, out) for _ in range(options.runs))
            theirs = {
                name: [measure([*program, *shared, *flags, file, out], out) for _ in range(options.runs)]
                for name, flags in settings.items()
            }
            ours = [
                measure([options.atoll, "merge", file, "--out", out], out) for _ in range(options.runs)
            ]
            best = min(theirs, key=lambda name: min(theirs[name]))
            seconds, memory = min(theirs[best])[0], min(peak for runs in theirs.values() for _, peak in runs)
            mine, peak = min(ours)[0], max(peak for _, peak in ours)
            print(
                f"{method:10} mergekit ({best}) {seconds:6.2f} s, {memory / 1e6:6.0f} MB; atoll {mine:6.2f} s, "
                f"{peak / 1e6:6.0f} MB; {seconds / mine:5.2f} times as fast, {(seconds - idle) / mine:5.2f} without "
                f"mergekit's start; {copy / mine:4.0%} of the rate of a copy; memory {peak / memory:4.2f}", flush=True,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()

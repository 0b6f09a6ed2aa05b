#!/usr/bin/env python3
"""Checkpoints of every supported kind, made by Hugging Face transformers and read by atoll, and the other way round.

usage: transformers_checkpoints.py ATOLL TOKENIZER_FOLDER

Small random Llama models (tied, untied, grouped queries, every rotary scaling, several files, three element types) are
saved by transformers; `atoll logits` must agree with transformers to 1e-4 in float32. Then `atoll export safetensors`
writes each again, and transformers must find the same weights and give the same logits. Exit code 0 if all agree.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

TOLERANCE = 1e-4
SHAPE = dict(
    vocab_size=256, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=128, bos_token_id=None, eos_token_id=[10, 0], pad_token_id=None,
)


def scaled(kind, **numbers):
    return dict(rope_theta=10000.0, rope_scaling=dict(rope_type=kind, factor=4.0, **numbers))


# name: (configuration, element type, shard size, element type that atoll writes, its shard size)
KINDS = {
    "tied": (dict(tie_word_embeddings=True), torch.float32, None, "float32", None),
    "untied": (dict(tie_word_embeddings=False), torch.float32, None, "float32", "100KB"),
    "grouped": (dict(num_key_value_heads=2, head_dim=24), torch.float32, None, "float32", None),
    "linear": (scaled("linear"), torch.float32, None, "float32", None),
    "dynamic": (scaled("dynamic"), torch.float32, None, "float32", None),
    "llama3": (
        scaled("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
        torch.float32, None, "float32", None,
    ),
    "yarn": (scaled("yarn", original_max_position_embeddings=32), torch.float32, None, "float32", None),
    "yarn-all": (
        scaled(
            "yarn", original_max_position_embeddings=32, beta_fast=8.0, beta_slow=2.0, attention_factor=1.3,
            truncate=False,
        ),
        torch.float32, None, "float32", None,
    ),
    "sharded": (dict(num_key_value_heads=1), torch.float32, "150KB", "float32", "90KB"),
    "bfloat16": (dict(num_key_value_heads=2), torch.bfloat16, "90KB", "bfloat16", None),
    "float16": (dict(), torch.float16, "90KB", "float16", "60KB"),
}


transformers.utils.logging.disable_progress_bar()


def load(folder):
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    wrong = {key: sorted(map(str, value)) for key, value in report.items() if value}
    if wrong:
        sys.exit(f"transformers does not take {folder} as it is: {wrong}")
    return model.eval()


def difference(atoll, folder, model, scratch):
    source = random.Random(7)
    sequences = [[source.randrange(256) for _ in range(length)] for length in (1, 2, 65, 128)]
    ids, out = Path(scratch, "ids.json"), Path(scratch, "logits.json")
    ids.write_text(json.dumps({"sequences": sequences}))
    subprocess.run(
        [atoll, "logits", folder, "--ids", ids, "--out", out], check=True, stdout=subprocess.DEVNULL
    )
    largest = 0.0
    for sequence, logits in zip(sequences, json.loads(out.read_text())["logits"], strict=True):
        with torch.no_grad():
            theirs = model(torch.tensor([sequence])).logits[0]
        largest = max(largest, (torch.tensor(logits) - theirs).abs().max().item())
    return largest


def check(name, atoll, tokenizer, scratch):
    settings, dtype, shard_size, out_type, out_shard_size = KINDS[name]
    torch.manual_seed(len(name))
    config = LlamaConfig(**{**SHAPE, **settings}, initializer_range=0.15)
    model = LlamaForCausalLM(config).to(dtype)
    made, written = Path(scratch, name), Path(scratch, name + "-by-atoll")
    model.save_pretrained(made, **({"max_shard_size": shard_size} if shard_size else {}))
    if shard_size and not (made / "model.safetensors.index.json").exists():
        sys.exit(f"{name}: transformers wrote one file, not several")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tokenizer, file), made)
    config_file = made / "config.json"
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "kept_key": {"a": [1, None]}}))
    theirs = load(made)
    read = difference(atoll, made, theirs, scratch)
    if "rope_scaling" in settings and settings["rope_scaling"]["rope_type"] != "dynamic":
        # The scaling must matter, or agreement would say nothing.
        plain = LlamaForCausalLM(LlamaConfig(**SHAPE, initializer_range=0.15)).eval()
        plain.load_state_dict(theirs.state_dict())
        ids = torch.arange(128)[None]
        with torch.no_grad():
            effect = (plain(ids).logits - theirs(ids).logits).abs().max().item()
        if effect < 1000 * TOLERANCE:
            sys.exit(f"{name}: the rotary scaling changes the logits by {effect:.1e} only")

    command = [atoll, "export", "safetensors", made, "--dtype", out_type, "--out", written]
    subprocess.run(
        command + (["--shard-size", out_shard_size] if out_shard_size else []), check=True, stdout=subprocess.DEVNULL
    )
    if out_shard_size and not (written / "model.safetensors.index.json").exists():
        sys.exit(f"{name}: atoll wrote one file, not several")
    ours = load(written)
    left, right = theirs.state_dict(), ours.state_dict()
    if left.keys() != right.keys() or any(not torch.equal(left[key], right[key]) for key in left):
        sys.exit(f"{name}: the weights have changed")
    kept = json.loads((written / "config.json").read_text())
    if kept.get("kept_key") != {"a": [1, None]} or kept["eos_token_id"] != [10, 0]:
        sys.exit(f"{name}: config.json has lost what was in it")
    back = difference(atoll, written, ours, scratch)
    print(f"  {name:10} read {read:.1e}, written {back:.1e}")
    return max(read, back)


def main():
    atoll, tokenizer = sys.argv[1], sys.argv[2]
    with tempfile.TemporaryDirectory() as scratch:
        largest = max(check(name, atoll, tokenizer, scratch) for name in KINDS)
    print(
        f"transformers {transformers.__version__}: {len(KINDS)} kinds of checkpoints, both ways, "
        f"largest difference of a logit {largest:.2e} (limit {TOLERANCE:.0e})"
    )
    if not largest <= TOLERANCE:
        sys.exit("the logits differ")


if __name__ == "__main__":
    main()

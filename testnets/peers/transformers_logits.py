#!/usr/bin/env python3
"""Load an atoll checkpoint in Hugging Face transformers and compare it with atoll's own computation.

usage: transformers_logits.py ATOLL CHECKPOINT

Compares the logits of some random and some real sequences (largest absolute difference at most 1e-4), and the token ids
of the tokenizer with the bytes of the text. Exit code 0 if all agree.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4
TEXTS = [
    "#include <stdio.h>\nint main(void) { return 0; }\n",
    "  two spaces, a\ttab, \r\n a line end, caf\u00e9 cafe\u0301 \u212b, \U0001f600 \u6f22\u5b57 \u0000\u007f\u00ad",
    "I'm  you'll 12345 ... ",
]


def check_tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        if ids != list(text.encode()):
            sys.exit(f"the tokenizer gives {ids} for {text!r}, not its bytes")
        if tokenizer.decode(ids) != text:
            sys.exit(f"the tokenizer decodes {tokenizer.decode(ids)!r}, not {text!r}")
    print(f"tokenizer: {type(tokenizer).__name__}, ids are bytes for {len(TEXTS)} texts")


def main():
    atoll, folder = sys.argv[1], sys.argv[2]
    check_tokenizer(folder)
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model.eval()
    wrong = {key: sorted(value) for key, value in report.items() if value}
    if wrong:
        sys.exit(f"transformers does not take the checkpoint as it is: {wrong}")
    config = model.config
    context = config.max_position_embeddings
    source = random.Random(7)
    sequences = [list(text.encode())[:context] for text in TEXTS]
    for length in (1, 2, context // 2 + 1, context):
        sequences.append([source.randrange(config.vocab_size) for _ in range(length)])
    with tempfile.TemporaryDirectory() as scratch:
        ids, out = Path(scratch, "ids.json"), Path(scratch, "logits.json")
        ids.write_text(json.dumps({"sequences": sequences}))
        subprocess.run([atoll, "logits", folder, "--ids", str(ids), "--out", str(out)], check=True)
        ours = json.loads(out.read_text())["logits"]
    largest = 0.0
    for sequence, logits in zip(sequences, ours, strict=True):
        with torch.no_grad():
            theirs = model(torch.tensor([sequence])).logits[0]
        mine = torch.tensor(logits)
        if mine.shape != theirs.shape:
            sys.exit(f"shapes differ: {tuple(mine.shape)} and {tuple(theirs.shape)}")
        largest = max(largest, (mine - theirs).abs().max().item())
    print(
        f"transformers {transformers.__version__}, torch {torch.__version__}: {len(sequences)} sequences, "
        f"largest difference of a logit {largest:.2e} (limit {TOLERANCE:.0e})"
    )
    if not largest <= TOLERANCE:
        sys.exit("the logits differ")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Load a mixture that atoll made of one model's copies in Hugging Face transformers and compare it with that model.

usage: transformers_mixture.py ATOLL CHECKPOINT

Makes mixtures of identical experts, for every gate mode: whatever the router says, the mixture computes what its base
does. Compares their logits (largest absolute difference at most 1e-4), and checks that every tensor was taken.
Exit code 0 if all agree.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-4
GATE_MODES = ["random", "uniform_random", "cheap_embed", "hidden", "hidden_last", "hidden_avg"]


def load(folder):
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    wrong = {key: sorted(value) for key, value in report.items() if value}
    if wrong:
        sys.exit(f"transformers does not take {folder} as it is: {wrong}")
    return model.eval()


def main():
    atoll, folder = sys.argv[1], sys.argv[2]
    base = load(folder)
    generator = torch.Generator().manual_seed(7)
    length = min(64, base.config.max_position_embeddings)
    ids = torch.randint(base.config.vocab_size, (4, length), generator=generator)
    with torch.no_grad():
        expected = base(ids).logits
    experts = [
        {"source_model": folder, "positive_prompts": [prompt], "negative_prompts": ["x"]}
        for prompt in ("int main", "use strict;", "def f(x):", "# text")
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for mode in GATE_MODES:
            recipe, out = Path(scratch, f"{mode}.json"), Path(scratch, mode)
            recipe.write_text(json.dumps({"base_model": folder, "gate_mode": mode, "experts": experts}))
            subprocess.run([atoll, "merge", str(recipe), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
            model = load(out)
            with torch.no_grad():
                found = model(ids).logits
            largest = (found - expected).abs().max().item()
            print(
                f"transformers {transformers.__version__}, {type(model).__name__}, gate {mode}: "
                f"largest difference of a logit {largest:.2e} (limit {TOLERANCE:.0e})"
            )
            if not largest <= TOLERANCE:
                sys.exit("the logits differ")


if __name__ == "__main__":
    main()

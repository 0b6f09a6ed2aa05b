#!/usr/bin/env python3
"""Compare the tokens that atoll and Hugging Face transformers generate from one checkpoint.

usage: transformers_generate.py ATOLL CHECKPOINT

Greedy: the same tokens, with and without a repetition penalty, for several prompts at once. Where they part, the two
logits must be as good as equal (a tie that rounding decides). Sampling: many draws of one token never leave the set that
transformers' filters keep, and follow its probabilities (chi-square, 1e-4). Evaluation: the same loss. Exit code 0 if all agree.
"""

import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = ["#include <stdio.h>\n", "int main(void) {\n", "/* ", "#define A", "typedef struct"]
DRAWS = 4000
FILTERS = [
    {"temperature": 0.7, "top_k": 12, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0},
    {"temperature": 1.3, "top_k": 0, "top_p": 0.8, "min_p": None, "repetition_penalty": 1.3},
    {"temperature": 1.0, "top_k": 30, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1},
]


def run(atoll, scratch, folder, sequences, *flags):
    path = Path(scratch, "ids.json")
    path.write_text(json.dumps({"sequences": sequences}))
    done = subprocess.run(
        [atoll, "generate", folder, "--ids", str(path), "--json", *map(str, flags)],
        check=True,
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)
    return [result["ids"] for result in report.get("results", [report])]


def penalised(model, ids, penalty):
    with torch.no_grad():
        scores = model(torch.tensor([ids])).logits[:, -1]
    return transformers.RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([ids]), scores)[0]


def check_greedy(atoll, scratch, folder, model, sequences, context):
    compared = 0
    for penalty in (1.0, 1.3):
        count = context - max(map(len, sequences))
        ours = run(
            atoll, scratch, folder, sequences, "--temperature", 0, "--tokens", count, "--repetition-penalty", penalty
        )
        for prompt, mine in zip(sequences, ours, strict=True):
            theirs = model.generate(
                torch.tensor([prompt]), do_sample=False, max_new_tokens=count, repetition_penalty=penalty
            )[0].tolist()[len(prompt):]
            for place, (a, b) in enumerate(zip(mine, theirs)):
                compared += 1
                if a == b:
                    continue
                scores = penalised(model, prompt + mine[:place], penalty)
                gap = abs(scores[a] - scores[b]).item()
                if gap > 1e-4:
                    sys.exit(f"token {place} after {prompt} is {a}, transformers takes {b}; the logits differ by {gap}")
                print(f"a tie: token {place}, logits {gap:.1e} apart")
                break
            else:
                if len(mine) != len(theirs):
                    sys.exit(f"{len(mine)} tokens after {prompt}, transformers has {len(theirs)}")
    print(f"greedy: {compared} tokens of {len(sequences)} prompts are the same, repetition penalty 1 and 1.3")


def check_filter(atoll, scratch, folder, model, prompt, settings):
    flags = ["--tokens", 1, "--seed", 5]
    for name, value in settings.items():
        if value is not None:
            flags += [f"--{name.replace('_', '-')}", value]
    drawn = [ids[0] for ids in run(atoll, scratch, folder, [prompt] * DRAWS, *flags)]
    generated = model.generate(
        torch.tensor([prompt]),
        do_sample=True,
        max_new_tokens=1,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    expected = generated.scores[0][0].softmax(-1).tolist()
    outside = sorted({token for token in drawn if expected[token] == 0})
    if outside:
        sys.exit(f"{settings}: drew {outside}, which transformers' filters remove")
    statistic, cells, rest = 0.0, 0, [0.0, 0.0]
    for token, probability in enumerate(expected):
        if probability == 0:
            continue
        seen, due = drawn.count(token), DRAWS * probability
        if due < 5:
            rest = [rest[0] + seen, rest[1] + due]
            continue
        statistic += (seen - due) ** 2 / due
        cells += 1
    if rest[1] > 0:
        statistic += (rest[0] - rest[1]) ** 2 / rest[1]
        cells += 1
    freedom = max(1, cells - 1)
    chance = torch.special.gammaincc(torch.tensor(freedom / 2.0), torch.tensor(statistic / 2)).item()
    kept = sum(probability > 0 for probability in expected)
    print(f"sampling: {DRAWS} draws from {kept} tokens, chi-square {statistic:.1f} for {freedom}, p {chance:.2g}")
    if chance < 1e-4:
        sys.exit(f"{settings}: the draws do not follow transformers' probabilities")


def check_evaluation(atoll, scratch, folder, model, context):
    source = random.Random(3)
    sequences = [
        [source.randrange(model.config.vocab_size) for _ in range(length)] for length in (2, context, context // 3, 17)
    ]
    path = Path(scratch, "ids.json")
    path.write_text(json.dumps({"sequences": sequences}))
    done = subprocess.run(
        [atoll, "eval", folder, "--ids", str(path), "--json"], check=True, capture_output=True, text=True
    )
    ours = json.loads(done.stdout)
    total, tokens = 0.0, 0
    for sequence in sequences:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            total += model(ids, labels=ids).loss.item() * (len(sequence) - 1)
        tokens += len(sequence) - 1
    difference = abs(ours["loss"] - total / tokens)
    if ours["tokens"] != tokens or difference > 1e-4:
        sys.exit(f"eval gives {ours}, transformers a loss of {total / tokens} over {tokens} tokens")
    if abs(ours["perplexity"] / math.exp(ours["loss"]) - 1) > 1e-9:
        sys.exit("the perplexity is not exp of the loss")
    print(f"evaluation: losses over {tokens} tokens differ by {difference:.1e}")


def main():
    atoll, folder = sys.argv[1], sys.argv[2]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    context = model.config.max_position_embeddings
    sequences = [tokenizer(text)["input_ids"] for text in PROMPTS]
    with tempfile.TemporaryDirectory() as scratch:
        check_greedy(atoll, scratch, folder, model, sequences, context)
        for settings in FILTERS:
            check_filter(atoll, scratch, folder, model, sequences[0], settings)
        check_evaluation(atoll, scratch, folder, model, context)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: all agree")


if __name__ == "__main__":
    main()

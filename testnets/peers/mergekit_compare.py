#!/usr/bin/env python3
"""Small random Llama checkpoints, merged by mergekit and by atoll.

usage: mergekit_compare.py ATOLL TOKENIZER_FOLDER

mergekit computes each recipe in float32 and in float64. A tensor agrees if atoll is within 1e-6 of the tensor's RMS of the
first (one spacing in bfloat16), or nowhere farther from the second than the first is. Values at a cut (the magnitudes or
variances that decide which values a method keeps, where several are equal there) are counted and left out: mergekit does
not say which of them it keeps. Of random methods the share of values that are kept is compared. Exit code 0 if all agree.
"""

import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from safetensors import safe_open
from transformers import LlamaConfig, LlamaForCausalLM

TOLERANCE = 1e-6
LAYERS = 3
SHAPE = dict(
    vocab_size=256, hidden_size=64, intermediate_size=160, num_hidden_layers=LAYERS, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=128, bos_token_id=None, eos_token_id=0, pad_token_id=None,
)
# name: (configuration, element type, shard size)
KINDS = {
    "untied": (dict(tie_word_embeddings=False), torch.float32, None),
    "tied, grouped queries, several files": (
        dict(tie_word_embeddings=True, num_key_value_heads=2), torch.float32, "150KB",
    ),
    "bfloat16, several files": (dict(num_key_value_heads=2), torch.bfloat16, "90KB"),
}


def models(names, **parameters):
    """One entry for each model; a parameter is one value for all or a list of one for each."""
    return [
        dict(model=name, parameters={
            key: value[at] if isinstance(value, tuple) else value for key, value in parameters.items()
        }) for at, name in enumerate(names)
    ]


def slices(names, t):
    sources = [dict(model=name, layer_range=[0, LAYERS]) for name in names]
    return dict(slices=[dict(sources=sources)], parameters=dict(t=t))


TWO, THREE, ALL = ["a", "b"], ["a", "b", "c"], ["base", "a", "b", "c"]
WEIGHTS = (0.6, 0.5, 0.3)
GRADIENT = [dict(filter="self_attn", value=[0, 0.5, 1]), dict(filter="mlp", value=[1, 0.5, 0]), dict(value=0.5)]
ADDED = [dict(filter="o_proj", value=0), dict(filter="down_proj", value=0), dict(value=1)]
# name: (method, whether with the base, the rest of the recipe)
RECIPES = {
    "linear": ("linear", False, dict(models=models(THREE, weight=(1.0, 0.3, -0.2)))),
    "linear, not normalized": (
        "linear", False, dict(models=models(THREE, weight=WEIGHTS), parameters=dict(normalize=False)),
    ),
    "linear, along layers": ("linear", False, dict(models=models(TWO, weight=([0.2, 0.8], [1.0, 0.1, 0.5])))),
    "slerp": ("slerp", True, dict(models=models(["base", "a"]), parameters=dict(t=0.3))),
    "slerp, along layers": ("slerp", True, slices(["base", "b"], GRADIENT)),
    "nuslerp": ("nuslerp", False, dict(models=models(TWO, weight=(0.4, 1.0)))),
    "nuslerp, base": ("nuslerp", True, dict(models=models(TWO, weight=(0.4, 1.0)))),
    "nuslerp, rows": (
        "nuslerp", True, dict(models=models(TWO, weight=(0.4, 1.0)), parameters=dict(nuslerp_flatten=False)),
    ),
    "nuslerp, columns": (
        "nuslerp", False,
        dict(models=models(TWO, weight=(0.4, 1.0)), parameters=dict(nuslerp_flatten=False, nuslerp_row_wise=True)),
    ),
    "multislerp": ("multislerp", False, dict(models=models(THREE, weight=WEIGHTS))),
    "multislerp, base": ("multislerp", True, dict(models=models(THREE, weight=WEIGHTS))),
    "karcher": ("karcher", False, dict(models=models(THREE))),
    "task_arithmetic": (
        "task_arithmetic", True, dict(models=models(THREE, weight=WEIGHTS), parameters={"lambda": 0.8}),
    ),
    "task_arithmetic, normalized": (
        "task_arithmetic", True, dict(models=models(THREE, weight=WEIGHTS), parameters=dict(normalize=True)),
    ),
    "ties": ("ties", True, dict(models=models(THREE, weight=WEIGHTS, density=(0.5, 0.3, 1.0)))),
    "ties, not normalized": (
        "ties", True,
        dict(models=models(THREE, weight=WEIGHTS, density=0.2), parameters=dict(normalize=False, int8_mask=True)),
    ),
    "breadcrumbs": ("breadcrumbs", True, dict(models=models(THREE, weight=WEIGHTS, density=0.6, gamma=0.05))),
    "breadcrumbs_ties": ("breadcrumbs_ties", True, dict(models=models(THREE, weight=WEIGHTS, density=0.6, gamma=0.05))),
    "model_stock": ("model_stock", True, dict(models=models(THREE))),
    "model_stock, rows": ("model_stock", True, dict(models=models(THREE), parameters=dict(filter_wise=True))),
    "nearswap": ("nearswap", True, dict(models=models(["base", "a"]), parameters=dict(t=0.01))),
    "sce": ("sce", True, dict(models=models(THREE))),
    "sce, selected": ("sce", True, dict(models=models(THREE), parameters=dict(select_topk=0.3))),
    "ram": ("ram", True, dict(models=models(THREE), parameters=dict(epsilon=1e-3))),
    "ramplus_tl": ("ramplus_tl", True, dict(models=models(THREE), parameters=dict(epsilon=1e-3, r=0.3))),
    "arcee_fusion": ("arcee_fusion", True, dict(models=models(["base", "a"]))),
    "passthrough": ("passthrough", False, dict(slices=[
        dict(sources=[dict(model="a", layer_range=[0, LAYERS])]),
        dict(sources=[dict(model="b", layer_range=[1, LAYERS], parameters=dict(scale=ADDED))]),
    ])),
}
RANDOM = {
    "dare_linear": ("dare_linear", True, dict(models=models(["a"], weight=1.0, density=0.4))),
    "dare_ties": ("dare_ties", True, dict(models=models(["a"], weight=1.0, density=0.4))),
    "della": ("della", True, dict(models=models(["a"], weight=1.0, density=0.4, epsilon=0.1))),
    "della_linear": ("della_linear", True, dict(models=models(["a"], weight=1.0, density=0.4, epsilon=0.1))),
}


def tensors(folder):
    read = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(file, "pt") as shard:
            read.update({name: shard.get_tensor(name) for name in shard.keys()})
    return read


def make(kind, folder, tokenizer):
    """A base and three models that differ from it where training would have changed them, and nowhere else."""
    settings, dtype, shard_size = KINDS[kind]
    torch.manual_seed(len(kind))
    model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, **settings}, initializer_range=0.1))
    parameters = list(model.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.02 * torch.randn_like(parameter))
    start = [parameter.clone() for parameter in parameters]
    for name in ALL:
        with torch.no_grad():
            for parameter, first in zip(parameters, start, strict=True):
                change = 0.02 * torch.randn_like(first) * (torch.rand_like(first) < 0.8)
                parameter.copy_(first if name == "base" else first + change)
        saved = LlamaForCausalLM(model.config)
        saved.load_state_dict(model.state_dict())
        saved.to(dtype).save_pretrained(folder / name, **({"max_shard_size": shard_size} if shard_size else {}))
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(Path(tokenizer, file), folder / name)


def with_paths(recipe, folder):
    def put(value):
        if isinstance(value, dict):
            return {key: str(folder / at) if key == "model" else put(at) for key, at in value.items()}
        return [put(at) for at in value] if isinstance(value, (list, tuple)) else value

    method, has_base, rest = recipe
    base = dict(base_model=str(folder / "base")) if has_base else {}
    return dict(merge_method=method, **base, **put(rest))


def by_mergekit(recipe, out, seed=0):
    torch.manual_seed(seed)
    run_merge(
        MergeConfiguration.model_validate(recipe), str(out), MergeOptions(write_model_card=False, quiet=True)
    )
    return tensors(out)


def by_atoll(atoll, recipe, out, seed=0):
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(recipe))
    done = subprocess.run(
        [atoll, "merge", file, "--out", out, "--seed", str(seed)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{recipe['merge_method']}: atoll merge ends with {done.returncode}: {done.stderr}")
    return tensors(out)


def at_cut(sizes, positions):
    """Where the size is that of a cut which has equal ones on both of its sides."""
    ordered = sizes.reshape(-1).sort(descending=True).values
    cut = torch.zeros_like(sizes, dtype=torch.bool)
    for position in positions:
        if 0 < position < len(ordered) and ordered[position - 1] == ordered[position]:
            cut |= sizes == ordered[position]
    return cut


def cuts(recipe, inputs, name):
    """Values whose selection mergekit leaves open."""
    base = inputs["base"][name].float()
    cut = torch.zeros_like(base, dtype=torch.bool)
    if recipe["merge_method"] in ("ties", "breadcrumbs", "breadcrumbs_ties"):
        for model in recipe["models"]:
            parameters = model["parameters"]
            count = base.numel()
            kept = int(parameters["density"] * count)
            top = int(parameters.get("gamma", 0) * count)
            if parameters["density"] < 1:
                change = inputs[Path(model["model"]).name][name].float() - base
                cut |= at_cut(change.abs(), [top, top + max(1, kept)])
    if "select_topk" in recipe.get("parameters", {}):
        changes = torch.stack([inputs[model][name].double() - base.double() for model in THREE])
        variances = changes.var(dim=0, unbiased=False).float()
        kept = int(recipe["parameters"]["select_topk"] * variances.count_nonzero().item())
        ordered = variances.reshape(-1).sort(descending=True).values
        # Rounding moves a variance by some spacings.
        cut = (variances - ordered[max(0, kept - 1)]).abs() <= 1e-6 * ordered[max(0, kept - 1)]
    return cut


def compare(kind, name, atoll, folder, inputs):
    dtype = KINDS[kind][1]
    plain = with_paths(RECIPES[name], folder)
    out_dtype = "bfloat16" if dtype == torch.bfloat16 else "float32"
    results = {
        width: by_mergekit({**plain, "dtype": width, "out_dtype": out_dtype if width == "float32" else width},
                           folder / f"mergekit-{width}")
        for width in ("float32", "float64")
    }
    ours = by_atoll(atoll, {**plain, "dtype": "float32", "out_dtype": out_dtype}, folder / "atoll")
    theirs, exact = results["float32"], results["float64"]
    if ours.keys() != theirs.keys():
        sys.exit(f"{kind}, {name}: other tensors: {sorted(ours.keys() ^ theirs.keys())}")
    largest, left_out, beyond, wrong = 0.0, 0, 0, []
    for tensor, value in ours.items():
        if value.dtype != theirs[tensor].dtype or value.shape != theirs[tensor].shape:
            sys.exit(f"{kind}, {name}: {tensor} has another type or shape")
        their, true = theirs[tensor].double(), exact[tensor].double()
        scale = their.square().mean().sqrt().item()
        difference = (value.double() - their).abs()
        if plain["merge_method"] != "passthrough":
            cut = cuts(plain, inputs, tensor) & (difference > TOLERANCE * scale)
            left_out += cut.sum().item()
            difference[cut] = 0
        allowed = torch.full_like(their, TOLERANCE * scale)
        if dtype == torch.bfloat16:
            allowed = torch.maximum(allowed, torch.exp2(torch.floor(torch.log2(their.abs().clamp(min=1e-38))) - 7))
        if (difference > allowed).any():
            error = (value.double() - true).abs()
            error[difference == 0] = 0
            if error.max() > (their - true).abs().max():
                wrong.append(f"{tensor} {(difference / scale).max().item():.1e}")
            else:
                beyond += 1
        else:
            largest = max(largest, (difference / scale).max().item())
    print(
        f"  {name:28} largest difference {largest:.1e} of the RMS"
        + (f", nearer to float64 than mergekit in {beyond} tensors" if beyond else "")
        + (f", {left_out} values at a cut left out" if left_out else ""), flush=True,
    )
    for path in folder.glob("mergekit-*"):
        shutil.rmtree(path)
    shutil.rmtree(folder / "atoll")
    return [f"{kind}, {name}: {text}" for text in wrong]


def compare_random(name, atoll, folder, inputs):
    recipe = {**with_paths(RANDOM[name], folder), "dtype": "float32"}
    ours = by_atoll(atoll, recipe, folder / "atoll", seed=5)
    again = by_atoll(atoll, recipe, folder / "again", seed=5)
    other = by_atoll(atoll, recipe, folder / "other", seed=6)
    theirs = by_mergekit(recipe, folder / "mergekit-random", seed=5)
    shares = []
    for result in (ours, theirs):
        kept = changed = size = before = 0
        for tensor, base in inputs["base"].items():
            change = inputs["a"][tensor] - base
            kept += ((result[tensor] != base) & (change != 0)).sum().item()
            changed += (change != 0).sum().item()
            size += (result[tensor] - base).abs().sum().item()
            before += change.abs().sum().item()
        shares.append((kept / changed, size / before))
    for path in ("atoll", "again", "other", "mergekit-random"):
        shutil.rmtree(folder / path)
    print(f"  {name:28} keeps {shares[0][0]:.4f} (mergekit {shares[1][0]:.4f}), norm {shares[0][1]:.5f} ({shares[1][1]:.5f})")
    wrong = []
    if any(not torch.equal(ours[tensor], again[tensor]) for tensor in ours):
        wrong.append(f"{name}: the same seed gives other values")
    if all(torch.equal(ours[tensor], other[tensor]) for tensor in ours):
        wrong.append(f"{name}: another seed gives the same values")
    if abs(shares[0][0] - shares[1][0]) > 0.01 or abs(shares[0][1] - shares[1][1]) > 1e-3:
        wrong.append(f"{name}: other shares")
    return wrong


def main():
    atoll, tokenizer = sys.argv[1], sys.argv[2]
    wrong = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            print(kind)
            make(kind, folder, tokenizer)
            inputs = {name: tensors(folder / name) for name in ALL}
            for name in RECIPES:
                wrong += compare(kind, name, atoll, folder, inputs)
            if kind == "untied":
                for name in RANDOM:
                    wrong += compare_random(name, atoll, folder, inputs)
    print(f"mergekit {metadata.version('mergekit')}: {len(KINDS)} kinds of checkpoints, {len(RECIPES) + len(RANDOM)} recipes")
    if wrong:
        sys.exit("\n".join(["these differ:", *wrong]))


if __name__ == "__main__":
    main()

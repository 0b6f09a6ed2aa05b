"""Writes Tests/ExpertsTests/MergeVectors.swift: small merges, computed by Python `mergekit` in float32.

usage: python mergekit_vectors.py > Tests/ExpertsTests/MergeVectors.swift
"""
import itertools
from importlib import metadata

import torch
from mergekit.merge_methods import registry
from mergekit.merge_methods.base import TensorGroup

TASKS = ["task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties"]


def pattern(number, count):
    """Multiples of 1/1024, which are exact in float32."""
    return [((i * 37 + number * 101 + i * i * (number + 3)) % 1009 - 504) / 1024 for i in range(count)]


# method, inputs (pattern, factor), position of the base, shared parameters, parameters of each input but the base
CASES = [
    ("linear", [(1, 1), (2, 1), (3, 1)], None, {}, dict(weight=[0.7, 0.5, -0.2])),
    ("linear", [(1, 1), (2, 1)], None, dict(normalize=False), dict(weight=[0.7, 0.5])),
    ("slerp", [(1, 1), (2, 1)], 0, dict(t=0.3), {}),
    ("slerp", [(1, 1), (2, 1)], 1, dict(t=1.25), {}),
    ("slerp", [(1, 1), (1, 2)], 0, dict(t=0.3), {}),
    ("slerp", [(1, 1), (1, -1)], 0, dict(t=0.3), {}),
    ("slerp", [(1, 1), (1, 0)], 0, dict(t=0.3), {}),
    ("nuslerp", [(1, 1), (2, 1)], None, {}, dict(weight=[0.5, 1.0])),
    ("nuslerp", [(1, 1), (2, 1), (3, 1)], 1, {}, dict(weight=[0.5, 1.0])),
    ("nuslerp", [(1, 1), (1, 2)], None, {}, dict(weight=[0.5, 1.0])),
    ("nuslerp", [(1, 1), (2, 1)], None, dict(nuslerp_flatten=False), dict(weight=[0.5, 1.0])),
    ("nuslerp", [(1, 1), (2, 1)], None, dict(nuslerp_flatten=False, nuslerp_row_wise=True), dict(weight=[0.5, 1.0])),
    ("multislerp", [(1, 1), (2, 1), (3, 1)], None, {}, dict(weight=[0.5, 1.0, 0.25])),
    ("multislerp", [(1, 1), (2, 1), (3, 1)], 0, dict(normalize_weights=False), dict(weight=[0.5, 1.0])),
    ("multislerp", [(1, 1), (1, -1)], None, {}, dict(weight=[0.5, 0.5])),
    ("karcher", [(1, 1), (2, 1), (3, 1)], None, {}, {}),
    ("karcher", [(1, 1), (2, 1), (3, 0)], None, {}, {}),
    ("karcher", [(1, 1), (2, 1), (4, 1)], None, dict(max_iter=2), {}),
    ("model_stock", [(1, 1), (2, 1), (3, 1)], 0, {}, {}),
    ("model_stock", [(1, 1), (2, 1), (3, 1), (4, 1)], 0, dict(filter_wise=True), {}),
    ("nearswap", [(1, 1), (2, 1)], 0, dict(t=0.05), {}),
    ("nearswap", [(1, 1), (2, 1)], 1, dict(t=0.2), {}),
    ("sce", [(1, 1), (2, 1), (3, 1)], 0, {}, {}),
    ("sce", [(1, 1), (2, 1), (3, 1), (4, 1)], 0, dict(select_topk=0.4), {}),
    ("ram", [(1, 1), (2, 1), (3, 1)], 0, dict(epsilon=0.3), {}),
    ("ramplus_tl", [(1, 1), (2, 1), (3, 1)], 0, dict(epsilon=0.3), {}),
    ("ramplus_tl", [(1, 1), (2, 1), (3, 1)], 0, dict(epsilon=0.3, r=0.5, alpha=2.0), {}),
    ("arcee_fusion", [(1, 1), (2, 1)], 0, {}, {}),
    ("passthrough", [(1, 1)], None, {}, dict(scale=[0.3])),
]
for method, density in itertools.product(TASKS, [1.0, 0.45]):
    own = dict(weight=[0.7, 0.5, -0.2])
    if method != "task_arithmetic":
        own["density"] = [density, 0.8, density]
    if "breadcrumbs" in method:
        own["gamma"] = [0.1, 0.1, 0.2]
    inputs = [(1, 1), (2, 1), (3, 1), (4, 1)]
    CASES.append((method, inputs, 0, {"lambda": 0.8}, own))
    CASES.append((method, inputs, 0, {"normalize": method != "ties"}, own))
CASES.append(("ties", [(1, 1), (2, 1), (3, 1)], 0, dict(rescale=True), dict(weight=[0.7, 0.5], density=[0.5, 0.3])))


def pairs(parameters):
    return "[" + (", ".join(f"{name!r}: {float(value)}" for name, value in parameters.items()) or ":") + "]"


def emit(method, inputs, base, shape, shared, own):
    tensors = [
        torch.tensor(pattern(number, torch.Size(shape).numel()), dtype=torch.float32).reshape(shape) * factor
        for number, factor in inputs
    ]
    group = TensorGroup.from_tensors(tensors, base_index=base, name="t")
    parameters = dict(shared)
    if method == "passthrough":
        parameters["scale"] = own["scale"][0]
    else:
        parameters.update(own)
    (result,) = registry.get(method)([group], parameters=parameters)
    each, others = [], iter(range(len(inputs)))
    for index in range(len(inputs)):
        each.append({} if index == base else (lambda at: {name: value[at] for name, value in own.items()})(next(others)))
    listed = ", ".join(f"({number}, {factor})" for number, factor in inputs)
    print("        MergeVector(")
    print(f"            \"{method}\", {list(shape)}, [{listed}], base: {'nil' if base is None else base},")
    print(f"            {pairs(shared)}, [{', '.join(map(pairs, each))}],".replace("'", '"'))
    numbers = [f"{value:.9g}" for value in result.reshape(-1).tolist()]
    lines = [", ".join(numbers[start:start + 7]) for start in range(0, len(numbers), 7)]
    print("            [" + ",\n             ".join(lines) + "]),")


print("// Made by testnets/peers/mergekit_vectors.py.")
print(f"// Computed with mergekit {metadata.version('mergekit')} and torch {torch.__version__} in float32.")
print("""
/// A merge that mergekit computed.
struct MergeVector {
    let method: String
    let shape: [Int]
    /// Input: a pattern's number and what it is multiplied with.
    let inputs: [(Int, Float)]
    let base: Int?
    let shared: [String: Double]
    let perInput: [[String: Double]]
    let values: [Float]

    init(
        _ method: String, _ shape: [Int], _ inputs: [(Int, Float)], base: Int?, _ shared: [String: Double],
        _ perInput: [[String: Double]], _ values: [Float]
    ) {
        self.method = method
        self.shape = shape
        self.inputs = inputs
        self.base = base
        self.shared = shared
        self.perInput = perInput
        self.values = values
    }

    static let all: [MergeVector] = [""")
for case in CASES:
    emit(*case[:3], (2, 7), *case[3:])
for case in {case[0]: case for case in CASES}.values():
    emit(*case[:3], (7,), *case[3:])
print("    ]\n}")

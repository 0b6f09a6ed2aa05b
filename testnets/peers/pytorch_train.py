"""Compares training speed and peak memory of atoll and of PyTorch on the same model, by turns on the same machine.

    python pytorch_train.py ATOLL [OPTION ...]

Each round lets every PyTorch mode train for a while and then runs `atoll bench train` once per --dtypes; one process
works at a time, so all see the same machine. Speeds are medians over the rounds; a ratio is that of medians, and in
parentheses the least and the greatest of one round. Peak memory is VmHWM of the whole process. Every round also measures
what other processes took of the processor: PyTorch's threads wait for each other at every operation and lose far more
to a busy neighbour than atoll's, so such a round says nothing. The exit code is 0 only if everything ran, both sides
have the same number of parameters, and the machine was free (3 if it was not).
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKER = Path(__file__).with_name("pytorch_worker.py")

# The presets of Sources/LanguageModel/ModelConfiguration.swift, and the batch of each comparison.
PRESETS = {
    "nano": (16, dict(vocabulary=256, width=128, layers=4, heads=4, feed_forward=352, context=128)),
    "micro": (16, dict(vocabulary=256, width=192, layers=6, heads=6, feed_forward=512, context=256)),
    "tiny": (16, dict(vocabulary=4096, width=384, layers=8, heads=6, feed_forward=1024, context=256)),
    "small": (4, dict(vocabulary=32000, width=768, layers=12, heads=12, feed_forward=2048, context=512)),
}
# Eager or torch.compile, the precision of products, and `math` for attention without the flash kernel.
MODES = ("eager-f32", "eager-bf16", "compile-f32", "compile-bf16", "compile-bf16-math")
# `fastest` gives atoll no --dtype, so that it takes its own choice.
DTYPES = ("fastest", "f32", "bf16")

# Without these glibc hands every large tensor back to the kernel and faults it in anew at each step.
WORKER_ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


# Cores that other processes may take during a round, in the mean, before the comparison is void.
OTHERS_MAX = 0.1
EXIT_BUSY = 3


def kernel_bytes(path, name):
    """A line such as `VmHWM:  1024 kB` of a file in /proc."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    sys.exit(f"{path} has no {name}; memory is measured on Linux only")


def busy_seconds():
    """Processor seconds since the machine started that were neither idle nor waiting for a disk; stolen ones count."""
    user, nice, system, _, _, irq, soft_irq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid):
    """Processor seconds of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Side:
    """One contender: its name and what its rounds measured."""

    def __init__(self, name):
        self.name = name
        self.speeds = []
        self.others = []
        self.peak_bytes = 0
        self.facts = {}

    def run(self, seconds):
        """One round; `train` returns the processor seconds that it took itself."""
        start, busy = time.monotonic(), busy_seconds()
        own = self.train(seconds)
        self.others.append(max(0.0, busy_seconds() - busy - own) / (time.monotonic() - start))

    @property
    def median(self):
        return statistics.median(self.speeds)

    def as_json(self):
        return {
            **self.facts, "tokens_per_second": self.speeds, "median_tokens_per_second": self.median,
            "peak_bytes": self.peak_bytes, "cores_taken_by_others": self.others,
        }


class PyTorch(Side):
    """A worker process in one mode, which waits on its standard input between rounds."""

    def __init__(self, mode, size, batch, threads):
        super().__init__(f"pytorch {mode}")
        self.mode = mode
        configuration = PRESETS[size][1]
        specification = dict(configuration=configuration, batch=batch, mode=mode, threads=threads)
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(specification)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, **WORKER_ENVIRONMENT},
        )

    def warm_up(self):
        self.facts = self.answer()
        self.peak_bytes = self.read_peak()

    def train(self, seconds):
        before = process_seconds(self.process.pid)
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.speeds.append(answer["tokens_per_second"])
        self.facts["last_loss"] = answer["loss"]
        self.peak_bytes = self.read_peak()
        return process_seconds(self.process.pid) - before

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with status {self.process.wait()}; its own message is above")
        return json.loads(line)

    def read_peak(self):
        return kernel_bytes(f"/proc/{self.process.pid}/status", "VmHWM")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Atoll(Side):
    """`atoll bench train`, a new process each round."""

    def __init__(self, binary, dtype, size, batch, threads):
        super().__init__("atoll" if dtype == "fastest" else f"atoll {dtype}")
        self.dtype = dtype
        self.command = [binary, "bench", "train", "--size", size, "--batch", str(batch), "--threads", str(threads)]
        self.command += ["--json"] + ([] if dtype == "fastest" else ["--dtype", dtype])

    def train(self, seconds):
        # Half of atoll's time goes to matrix products; its --seconds is a whole number.
        command = [*self.command, "--seconds", str(max(1, round(2 * seconds)))]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            output = process.stdout.read()
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                errors.seek(0)
                sys.exit(f"{' '.join(command)} ended with status {process.returncode}:\n{errors.read()}{output}")
        self.facts = json.loads(output)
        self.speeds.append(self.facts.pop("tokens_per_second"))
        self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
        return usage.ru_utime + usage.ru_stime


def best(sides):
    return max(sides, key=lambda side: side.median)


def ratios(atoll, pytorch):
    """Atoll's figures over PyTorch's: speeds round by round, peak memory once."""
    by_round = [ours / theirs for ours, theirs in zip(atoll.speeds, pytorch.speeds, strict=True)]
    return dict(
        atoll=atoll.name, pytorch=pytorch.name, speed=atoll.median / pytorch.median, speed_min=min(by_round),
        speed_max=max(by_round), memory=atoll.peak_bytes / pytorch.peak_bytes,
    )


def note(text):
    print(text, file=sys.stderr, flush=True)


def compare(size, options):
    batch, configuration = PRESETS[size]
    ours = [Atoll(options.atoll, dtype, size, batch, options.threads) for dtype in options.dtypes]
    theirs = []
    try:
        for mode in options.modes:
            note(f"{size}: starting pytorch {mode}")
            theirs.append(PyTorch(mode, size, batch, options.threads))
            theirs[-1].warm_up()
            # Every worker keeps its memory between rounds, and whatever starts next needs about as much.
            left, needed = kernel_bytes("/proc/meminfo", "MemAvailable"), max(side.peak_bytes for side in theirs)
            if left < needed:
                sys.exit(f"{left >> 20} MiB of memory are left and {needed >> 20} needed: choose fewer --modes at once")
        for number in range(options.rounds):
            for side in theirs + ours:
                side.run(options.seconds)
                note(f"{size} round {number + 1} of {options.rounds}: {side.name} {side.speeds[-1]:.0f} tokens/s")
    finally:
        for side in theirs:
            side.close()

    counts = {side.name: side.facts["parameters"] for side in theirs + ours}
    if len(set(counts.values())) > 1:
        sys.exit(f"the numbers of parameters differ: {counts}")
    pairs = [(side, best(theirs)) for side in ours if theirs]
    single = [side for side in theirs if "-f32" in side.mode]
    if single and best(single) is not best(theirs):
        pairs += [(side, best(single)) for side in ours]
    result = dict(
        size=size, batch=batch, sequence=configuration["context"], parameters=next(iter(counts.values())),
        sides={side.name: side.as_json() for side in theirs + ours},
        ratios=[ratios(*pair) for pair in pairs],
    )
    show(result)
    return result


def show(result):
    print(f"\n{result['size']}: {result['parameters']} parameters, batch {result['batch']} x {result['sequence']}")
    print(f"{'':22} {'tokens/s':>9} {'min':>8} {'max':>8} {'peak MiB':>9} {'others':>7}")
    for name, side in result["sides"].items():
        speeds = side["tokens_per_second"]
        print(
            f"{name:22} {side['median_tokens_per_second']:9.0f} {min(speeds):8.0f} {max(speeds):8.0f}"
            f" {side['peak_bytes'] / 2**20:9.0f} {max(side['cores_taken_by_others']):7.2f}"
        )
    for ratio in result["ratios"]:
        print(
            f"{ratio['atoll']} / {ratio['pytorch']}: speed {ratio['speed']:.2f} "
            f"({ratio['speed_min']:.2f} to {ratio['speed_max']:.2f}), peak memory {ratio['memory']:.2f}"
        )
    sys.stdout.flush()


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def choices(allowed):
    def choice(text):
        values = [value for value in text.split(",") if value]
        wrong = [value for value in values if value not in allowed]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]} is none of {', '.join(allowed)}")
        return values

    return choice


def positive(kind):
    def number(text):
        value = kind(text)
        if not 0 < value < 1e4:
            raise argparse.ArgumentTypeError(f"{text} must be above 0 and below 10000")
        return value

    return number


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atoll", metavar="ATOLL", help="the binary")
    parser.add_argument("--sizes", type=choices(PRESETS), default=["micro", "tiny", "small"], help="presets")
    parser.add_argument("--modes", type=choices(MODES), default=list(MODES), help=f"of {','.join(MODES)}; '' for none")
    parser.add_argument(
        "--dtypes", type=choices(DTYPES), default=["fastest"],
        help=f"atoll's --dtype, of {','.join(DTYPES)} (default: fastest, its own choice); '' for no atoll",
    )
    parser.add_argument("--rounds", type=positive(int), default=5, help="rounds (default: 5)")
    parser.add_argument("--seconds", type=positive(float), default=5, help="training per side and round (default: 5)")
    parser.add_argument("--threads", type=positive(int), default=2, help="threads of both sides (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    if not options.modes and not options.dtypes:
        parser.error("--modes and --dtypes leave nothing to run")
    if options.dtypes and not shutil.which(options.atoll):
        parser.error(f"{options.atoll} is no program; `make build` makes build/atoll")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"there is no folder {options.json.parent}")
    compiles = any(mode.startswith("compile") for mode in options.modes)
    if compiles and not shutil.which(os.environ.get("CXX", "g++")):
        parser.error("torch.compile needs g++: apt-get install g++, or leave its modes out with --modes")
    return options


def main():
    options = parse_options()
    print(f"{processor()}, {os.cpu_count()} cores, {options.threads} threads, {options.rounds} rounds", flush=True)
    results = [compare(size, options) for size in options.sizes]
    if options.json:
        options.json.write_text(
            json.dumps(
                dict(
                    processor=processor(), cores=os.cpu_count(), threads=options.threads, rounds=options.rounds,
                    seconds=options.seconds, sizes=results,
                ),
                indent=1,
            )
            + "\n"
        )
    most = max(max(side["cores_taken_by_others"]) for result in results for side in result["sides"].values())
    if most > OTHERS_MAX:
        note(f"void: other processes took up to {most:.2f} cores during a round; repeat on a free machine")
        sys.exit(EXIT_BUSY)


if __name__ == "__main__":
    main()

"""Compares `atoll tokenize` and `atoll tokenizer train` with Python `tokenizers` and `transformers`.

usage: python tokenizers_compare.py ATOLL FOLDER [MEGABYTES]

Makes mixed text in FOLDER, trains vocabularies with both programs, encodes every text with both by every vocabulary and
prints what differs; ends with 1 if anything does. Speeds are the best of three runs: `atoll bench tokenizer` on the whole
text beside encode_batch_fast of 64 KiB pieces, the fastest way that `tokenizers` has.
"""
import glob
import json
import os
import random
import subprocess
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["RAYON_NUM_THREADS"] = os.environ.get("RAYON_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "true" if os.environ["RAYON_NUM_THREADS"] != "1" else "false"
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


PATTERNS = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama-3": lambda: split(LLAMA3),
    "smollm": lambda: pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "qwen2": lambda: split(QWEN2),
}


def make_texts(folder, megabytes):
    """Deterministic hostile text and, up to the size, files of this machine."""
    rng = random.Random(7)
    scalars = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    texts = {}
    # Scalars in several neighbourhoods: after an apostrophe, a space, a letter, a digit, twice, before a line end. Of the
    # large uniform blocks a part; the table itself was measured on all.
    few = [c for c in scalars if not (0x4E20 <= c < 0x9FF0 or 0xAC10 <= c < 0xD790 or 0xE010 <= c < 0xF8F0 or c >= 0x20010)
           or c % 97 == 0]
    texts["scalars"] = "".join("a'{0}x {0}b{0}{0} 1{0}2{0}\n{0}\r\n {0}".format(chr(c)) for c in few).encode()
    ranges = [(0x20, 0x7E)] * 8 + [(0x09, 0x0D), (0, 0x1F), (0xA0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF),
              (0x5D0, 0x5EA), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x2000, 0x206F), (0x3040, 0x30FF),
              (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFE00, 0xFE0F), (0x1F300, 0x1F9FF), (0x1D7CE, 0x1D7FF)]
    words = ["'s", "'LL", "I'm", "don't", "it\u2019s", "'\u017f", "\r\n", "\n\n", "   ", "\t", "<|endoftext|>", "  \n ", "12345"]
    out = []
    for _ in range(60_000):
        if rng.random() < 0.35:
            out.append(rng.choice(words))
        else:
            low, high = rng.choice(ranges)
            out.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9))))
        if rng.random() < 0.5:
            out.append(" ")
    texts["mixed"] = "".join(out).encode()
    texts["bytes"] = rng.randbytes(300_000) + bytes(range(256)) * 64
    broken = bytearray(texts["mixed"][:400_000])
    for _ in range(20_000):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    texts["broken"] = bytes(broken)
    texts["runs"] = b"a" * 100_000 + b" " * 50_000 + b"\n" * 5000 + b"-=" * 40_000 + b"0" * 3000 + b"ab" * 3000
    patterns = ["/usr/share/perl/**/*.p[lm]", "/usr/include/**/*.h", "/usr/lib/python3*/**/*.py",
                "/usr/share/locale/*/LC_MESSAGES/*.mo", "/usr/share/i18n/**/*", "/usr/share/common-licenses/*"]
    files = [sorted(f for f in glob.glob(p, recursive=True) if os.path.isfile(f)) for p in patterns]
    quota = megabytes * 1_000_000 // len(files)
    for number, names in enumerate(files):
        content = b""
        for name in names:
            if len(content) >= quota:
                break
            with open(name, "rb") as file:
                content += file.read()
        if content:
            texts[f"machine-{number}"] = content[:quota]
    os.makedirs(folder, exist_ok=True)
    for name, content in texts.items():
        with open(f"{folder}/{name}.txt", "wb") as file:
            file.write(content)
    return texts


def train(name, texts, size, threads=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-3"))
    tokenizer.pre_tokenizer = PATTERNS[name]()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator((t.decode("utf-8", "replace") for t in texts), trainer)
    return tokenizer


def variants(base):
    """Files with features that trained ones lack, made from a trained one."""
    file = json.loads(base)
    yield "plain", base
    old = json.loads(base)
    old["model"]["merges"] = [" ".join(pair) for pair in old["model"]["merges"]]
    for key in ["ignore_merges", "byte_fallback", "fuse_unk"]:
        old["model"].pop(key, None)
    yield "old", json.dumps(old)
    added = Tokenizer.from_str(base)
    added.add_tokens([AddedToken("don", single_word=True), AddedToken("<l>", lstrip=True), AddedToken(" the ", rstrip=True),
                      AddedToken("12", normalized=False), AddedToken("12345", normalized=False), AddedToken("\u00e9l"),
                      AddedToken("  ", lstrip=True, rstrip=True, normalized=False), AddedToken("it", single_word=True)])
    added.add_special_tokens(["<s>", "</s>"])
    added.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(t, added.token_to_id(t)) for t in ["<s>", "</s>"]])])
    yield "added", added.to_str()
    ignoring = json.loads(base)
    ignoring["model"]["ignore_merges"] = not ignoring["model"].get("ignore_merges", False)
    yield "ignoring", json.dumps(ignoring)
    if file["pre_tokenizer"]["type"] == "ByteLevel":
        prefix = json.loads(base)
        prefix["pre_tokenizer"]["add_prefix_space"] = True
        yield "prefix", json.dumps(prefix)
        whole = json.loads(base)
        whole["pre_tokenizer"]["use_regex"] = False
        yield "whole", json.dumps(whole)
    # A vocabulary without some bytes: they vanish, or become the unknown token.
    small = Tokenizer(models.BPE())
    small.pre_tokenizer = Tokenizer.from_str(base).pre_tokenizer
    small.decoder = decoders.ByteLevel()
    small.train_from_iterator(["the cat sat on the mat"] * 3, trainers.BpeTrainer(vocab_size=40, show_progress=False))
    yield "lacking", small.to_str()
    for fuse in [False, True]:
        unknown = json.loads(small.to_str())
        unknown["model"]["vocab"]["[UNK]"] = len(unknown["model"]["vocab"])
        unknown["model"] |= {"unk_token": "[UNK]", "fuse_unk": fuse}
        yield f"unknown-{fuse}", json.dumps(unknown)


def atoll_ids(atoll, tokenizer, text, special, threads=1):
    out = f"{tokenizer}.ids"
    command = [atoll, "tokenize", tokenizer, "--in", text, "--out", out, "--threads", str(threads)]
    subprocess.run(command + (["--add-special-tokens"] if special else []), check=True, stdout=subprocess.DEVNULL)
    with open(out) as file:
        return json.load(file)


def compare(label, ours, theirs, context):
    if ours == theirs:
        return 0
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    print(f"DIFFERENT {label}: {len(ours)} and {len(theirs)} ids, first at {at}: {ours[at:at + 8]} {theirs[at:at + 8]} {context(at)[:80]!r}")
    return 1


def compare_ids(atoll, folder, texts, vocabularies):
    differences = compared = 0
    for name, base in vocabularies.items():
        for variant, content in variants(base):
            path = f"{folder}/{name}-{variant}.json"
            with open(path, "w") as file:
                file.write(content)
            tokenizer = Tokenizer.from_str(content)
            for number, (text_name, text) in enumerate(texts.items()):
                # Texts without pieces take `tokenizers` minutes.
                if variant == "whole":
                    text = text[:20_000]
                elif variant != "plain":
                    text = text[:100_000]
                cut = f"{folder}/cut.txt"
                with open(cut, "wb") as file:
                    file.write(text)
                special = number % 2 == 1
                theirs = tokenizer.encode(text.decode("utf-8", "replace"), add_special_tokens=special).ids
                ours = atoll_ids(atoll, path, cut, special, threads=1 + number % 2)
                differences += compare(f"{name}-{variant} {text_name}", ours, theirs,
                                       lambda at: tokenizer.decode(theirs[max(0, at - 3):at + 3]))
                compared += len(theirs)
    print(f"ids compared: {compared}, texts that differ: {differences}")
    return differences


def compare_training(atoll, folder, texts, size):
    """Trains on the same files; vocabularies and merges must be equal, and transformers must read Atoll's."""
    differences = 0
    names = [f"{folder}/{n}.txt" for n in texts]
    for pattern in PATTERNS:
        out = f"{folder}/trained-{pattern}"
        subprocess.run(["rm", "-rf", out], check=True)
        data = [a for n in names for a in ("--data", n)]
        subprocess.run([atoll, "tokenizer", "train", *data, "--vocab-size", str(size), "--pattern", pattern,
                        "--out", out], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours = json.load(open(f"{out}/tokenizer.json"))["model"]
        theirs = json.loads(train(pattern, texts.values(), size).to_str())["model"]
        same = ours["vocab"] == theirs["vocab"] and ours["merges"] == theirs["merges"]
        print(f"training {pattern}: {len(theirs['merges'])} merges, {'equal' if same else 'DIFFERENT'}")
        differences += not same
        try:
            from transformers import AutoTokenizer
        except ImportError:
            continue
        auto = AutoTokenizer.from_pretrained(out)
        sample = texts["mixed"][:50_000]
        cut = f"{folder}/cut.txt"
        with open(cut, "wb") as file:
            file.write(sample)
        differences += compare(f"transformers {pattern}", atoll_ids(atoll, out + "/tokenizer.json", cut, True),
                               auto(sample.decode("utf-8", "replace"))["input_ids"], lambda at: "")
        assert auto.eos_token == "<|endoftext|>", auto.eos_token
    return differences


def best(run):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def speeds(atoll, folder, texts, vocabularies):
    """Both programs on the machine's files, one thread for encoding and two for training."""
    chosen = {n: t for n, t in texts.items() if n.startswith(("machine", "mixed"))}
    text = b"".join(chosen.values()).decode("utf-8", "replace")
    joined = f"{folder}/joined.txt"
    with open(joined, "w", newline="") as file:
        file.write(text)
    size = os.path.getsize(joined)
    pieces = [text[i:i + 65536] for i in range(0, len(text), 65536)]
    for name, base in vocabularies.items():
        if name not in ("gpt-2", "llama-3"):
            continue
        tokenizer = Tokenizer.from_str(base)
        # On the whole text and with offsets it is slower by half.
        theirs = best(lambda: tokenizer.encode_batch_fast(pieces))
        report = json.loads(subprocess.run(
            [atoll, "bench", "tokenizer", "--tokenizer", f"{folder}/{name}-plain.json", "--data", joined, "--json"],
            check=True, capture_output=True, text=True).stdout)
        ours = size / report["encode_bytes_per_second_1"]
        print(f"encoding {name}, {size / 1e6:.1f} MB, one thread: atoll {size / ours / 1e6:.1f} MB/s, tokenizers "
              f"{size / theirs / 1e6:.1f} MB/s, ratio {theirs / ours:.2f}")
    script = ("import sys,time;sys.argv=['x'];import tokenizers_compare as t;"
              f"texts=[open({joined!r},'rb').read()];s=time.perf_counter();t.train('{{}}',texts,32000);"
              "print(time.perf_counter()-s)")
    for name in ("gpt-2", "llama-3"):
        # One text is one unit of work to `tokenizers`: give it lines' ends to share.
        chunks = (f"d=open({joined!r},'rb').read();n=[0];"
                  "\nwhile n[-1]<len(d):\n  i=d.find(b'\\n',n[-1]+65536);n.append(len(d) if i<0 else i+1)\n"
                  "texts=[d[a:b] for a,b in zip(n,n[1:])]")
        code = script.format(name).replace(f"texts=[open({joined!r},'rb').read()];", f"\n{chunks}\n")
        environment = dict(os.environ, RAYON_NUM_THREADS="2", TOKENIZERS_PARALLELISM="true",
                           PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
        theirs = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                                      env=environment).stdout)
        out = f"{folder}/speed-{name}"
        subprocess.run(["rm", "-rf", out], check=True)
        start = time.perf_counter()
        subprocess.run([atoll, "tokenizer", "train", "--data", joined, "--vocab-size", "32000", "--pattern", name,
                        "--threads", "2", "--out", out], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours = time.perf_counter() - start
        print(f"training {name}, {size / 1e6:.1f} MB, 32000 tokens, two threads: atoll {ours:.2f} s, tokenizers {theirs:.2f} s, "
              f"ratio {theirs / ours:.2f}")


def main():
    atoll, folder = sys.argv[1], sys.argv[2]
    texts = make_texts(folder, int(sys.argv[3]) if len(sys.argv) > 3 else 12)
    print(f"{len(texts)} texts, {sum(map(len, texts.values())) / 1e6:.1f} MB")
    some = [t[:1_000_000] for n, t in texts.items() if n.startswith(("machine", "mixed", "runs"))]
    vocabularies = {name: train(name, some, 8000 if name in ("gpt-2", "llama-3") else 2000).to_str() for name in PATTERNS}
    differences = compare_ids(atoll, folder, texts, vocabularies)
    # Atoll reads documents in pieces of 256 KiB; only those of lines are cut where no word is.
    small = {n: t[:1_000_000 if n in ("machine-0", "machine-1", "machine-2") else 250_000] for n, t in texts.items()}
    for name, text in small.items():
        with open(f"{folder}/{name}.txt", "wb") as file:
            file.write(text)
    differences += compare_training(atoll, folder, small, 6000)
    speeds(atoll, folder, texts, vocabularies)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()

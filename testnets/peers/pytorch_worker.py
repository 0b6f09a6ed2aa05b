"""Trains a Llama model in PyTorch in rounds, for pytorch_train.py.

    python pytorch_worker.py SPECIFICATION        a line of JSON: configuration, batch, mode, threads

Prints a line of JSON when it is warm, then one per line read from stdin, which holds the seconds that the round should
last. Between rounds it waits, so that another process has the machine. Everything is as a PyTorch user who cares for
speed would write it: joint matrices for query, key and value and for gate and up, PyTorch's own attention, RMSNorm,
cross-entropy, fused AdamW, one graph without a break for torch.compile.
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

WARM_UP_STEPS = 3
LEARNING_RATE = 1e-4
ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-5


def rotate(heads, cosine, sine):
    """Rotary embedding as in Hugging Face's Llama: the second half of a head is the first half's partner."""
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, -1), sine)


def attention(query, key, value, dtype):
    """Causal attention computed in `dtype`, whatever autocast would choose."""
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(query.to(dtype), key.to(dtype), value.to(dtype), is_causal=True)
    return mixed.to(query.dtype)


class Block(nn.Module):
    def __init__(self, width, heads, feed_forward, attention_dtype):
        super().__init__()
        self.heads = heads
        self.attention_dtype = attention_dtype
        self.attention_norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        self.gate_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x, cosine, sine):
        batch, length, width = x.shape
        query_key, value = self.query_key_value(self.attention_norm(x)).split([2 * width, width], -1)
        query_key = query_key.view(batch, length, 2, self.heads, width // self.heads)
        query_key = rotate(query_key, cosine.to(query_key.dtype), sine.to(query_key.dtype))
        query, key = query_key.transpose(1, 3).unbind(2)
        value = value.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        mixed = attention(query, key, value, self.attention_dtype)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    """Token ids and targets, both batch x length, to the mean cross-entropy."""

    def __init__(self, vocabulary, width, layers, heads, feed_forward, context, attention_dtype):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, feed_forward, attention_dtype) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        head_width = width // heads
        frequencies = ROPE_THETA ** (-torch.arange(0, head_width, 2) / head_width)
        angles = torch.outer(torch.arange(context), frequencies)
        cosine, sine = angles.cos(), angles.sin()
        shape = (context, 1, 1, head_width)
        self.register_buffer("cosine", torch.cat([cosine, cosine], -1).view(shape))
        self.register_buffer("sine", torch.cat([-sine, sine], -1).view(shape))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cosine, self.sine)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def faster_attention_dtype(batch, heads, length, head_width):
    """bfloat16 or float32: without AMX, PyTorch's attention is slower in bfloat16, conversions included."""
    projected = [torch.randn(batch, heads, length, head_width, dtype=torch.bfloat16) for _ in range(3)]
    seconds = {}
    for _ in range(3):
        for dtype in (torch.bfloat16, torch.float32):
            query, key, value = (tensor.detach().requires_grad_() for tensor in projected)
            start = time.perf_counter()
            attention(query, key, value, dtype).sum().backward()
            seconds[dtype] = min(time.perf_counter() - start, seconds.get(dtype, math.inf))
    return min(seconds, key=seconds.get)


class Trainer:
    def __init__(self, configuration, batch, mode):
        compiled, precision, *plain_attention = mode.split("-")
        self.autocast = precision == "bf16"
        # `math`: attention as products and a softmax, which torch.compile fuses, in place of the flash kernel.
        self.attention = [SDPBackend.MATH] if plain_attention else [SDPBackend.FLASH_ATTENTION]
        length, heads = configuration["context"], configuration["heads"]
        self.tokens_per_step = batch * length
        self.attention_dtype = torch.bfloat16 if self.autocast else torch.float32
        if self.autocast and not plain_attention:
            self.attention_dtype = faster_attention_dtype(batch, heads, length, configuration["width"] // heads)
        torch.manual_seed(1)
        model = Llama(**configuration, attention_dtype=self.attention_dtype)
        self.parameters = list(model.parameters())
        matrices = [parameter for parameter in self.parameters if parameter.dim() > 1]
        vectors = [parameter for parameter in self.parameters if parameter.dim() == 1]
        # Measured on two cores: fused takes a third (micro) to a fifth (small) of the time of foreach.
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
            lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, fused=True,
        )
        windows = torch.randint(configuration["vocabulary"], (batch, length + 1))
        self.tokens, self.targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
        self.loss = torch.compile(model, fullgraph=True) if compiled == "compile" else model

    def step(self):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast), sdpa_kernel(self.attention):
            loss = self.loss(self.tokens, self.targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def say(**fields):
    print(json.dumps(fields), flush=True)


def main():
    specification = json.loads(sys.argv[1])
    torch.set_num_threads(specification["threads"])
    start = time.perf_counter()
    trainer = Trainer(specification["configuration"], specification["batch"], specification["mode"])
    losses = [trainer.step() for _ in range(WARM_UP_STEPS)]
    say(
        torch=torch.__version__,
        parameters=sum(parameter.numel() for parameter in trainer.parameters),
        attention=str(trainer.attention_dtype).removeprefix("torch."),
        first_loss=losses[0],
        warm_up_seconds=time.perf_counter() - start,
    )
    for line in sys.stdin:
        enough, steps, start = float(line), 0, time.perf_counter()
        while steps < 2 or time.perf_counter() - start < enough:
            loss = trainer.step()
            steps += 1
        seconds = time.perf_counter() - start
        say(steps=steps, seconds=seconds, tokens_per_second=steps * trainer.tokens_per_step / seconds, loss=loss)


if __name__ == "__main__":
    main()

"""The physical limit: how much arithmetic a piece of work needs, and how fast this machine multiplies matrices.

FLOPs are counted from shapes. A product of [m, k] and [k, n] counts 2mkn; a backward pass counts twice its forward
pass. Counted are the trunk's matrices for every real token, attention over the keys that a token may see, and the
unembedding at the positions whose logits are needed. Not counted: embeddings, norms, softmax, scalar heads, the
optimizer, padding, keys that are masked, and anything that is computed twice. So a share of the GEMM rate
is a share of useful work, and a library that pads or repeats work has a lower one.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.job import ANSWER, PRECISIONS, Shape

TRAINING = 3
"""A forward pass, and a backward pass of two products for each of its own."""
ROWS = (512, 1024, 2048, 4096)
"""Tokens of a forward pass for which products are measured; the highest rate among them is the limit."""


def layer_matrices(shape: Shape) -> list[tuple[int, int]]:
    """(outputs, inputs) of every matrix in one layer."""
    d, wide = shape.hidden, shape.intermediate
    if shape.arch == "gpt2":
        return [(3 * d, d), (d, d), (wide, d), (d, wide)]
    return [(d, d)] * 4 + [(wide, d), (wide, d), (d, wide)]


def trunk(shape: Shape, prompt: int, responses: Iterable[int] = ()) -> int:
    """FLOPs of one forward pass over a prompt and responses that each see it and themselves, without a head."""
    lengths = list(responses)
    tokens = prompt + sum(lengths)
    keys = _causal(prompt) + sum(prompt * length + _causal(length) for length in lengths)
    weights = sum(outputs * inputs for outputs, inputs in layer_matrices(shape))
    return shape.layers * (2 * tokens * weights + 4 * shape.hidden * keys)


def head(shape: Shape, positions: int) -> int:
    """FLOPs of the logits at so many positions."""
    return 2 * positions * shape.hidden * shape.vocabulary


def _causal(length: int) -> int:
    """Keys that the tokens of one row see together: 1 + 2 + ... + length."""
    return length * (length + 1) // 2


def reward_update(shape: Shape, prompt: int, response: int, completions: int) -> int:
    """One ranking, its prompt read once for all its completions."""
    return TRAINING * trunk(shape, prompt, [response] * completions)


def reward_update_by_pairs(shape: Shape, prompt: int, response: int, completions: int) -> int:
    """One ranking as explicit pairs: two whole rows for each."""
    pairs = completions * (completions - 1) // 2
    return TRAINING * pairs * 2 * trunk(shape, prompt + response)


def drawing(shape: Shape, prompt: int, response: int) -> int:
    """One response with a key-value cache: its last token is drawn, never read."""
    return trunk(shape, prompt + response - 1) + head(shape, response)


def ppo_episode(shape: Shape, prompt: int, response: int, epochs: int) -> int:
    """One episode: drawn; read by reference, reward model and value function; then learned from by two models."""
    row, logits = trunk(shape, prompt + response), head(shape, response)
    looked_at = 3 * row + logits
    learned = TRAINING * (2 * row + logits)
    return drawing(shape, prompt, response) + looked_at + epochs * learned


def language_model_update(shape: Shape, tokens: int, learned: int) -> int:
    """One row of `tokens`, of which `learned` are in the loss."""
    return TRAINING * (trunk(shape, tokens) + head(shape, learned))


def gemm_rates(shape: Shape, rounds: int = 5) -> dict[str, dict[str, Any]]:
    """FLOP/s of the products that training this model is made of, by precision.

    Every matrix of a layer, and the unembedding, is multiplied as in a forward pass and as for both gradients, into
    memory made beforehand; the rate is all their FLOPs over the sum of their median times.
    """
    import torch

    matrices = layer_matrices(shape) * shape.layers + [(shape.vocabulary, shape.hidden)]
    found: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        dtype = getattr(torch, precision)
        by_rows: dict[str, float] = {}
        for rows in ROWS:
            seconds = {size: _seconds(torch, rows, *size, dtype, rounds) for size in set(matrices)}
            flops = sum(TRAINING * 2 * rows * outputs * inputs for outputs, inputs in matrices)
            by_rows[str(rows)] = flops / sum(seconds[size] for size in matrices)
        found[precision] = {"flops_per_second": max(by_rows.values()), "by_rows": by_rows}
    return found


def _seconds(torch: Any, rows: int, outputs: int, inputs: int, dtype: Any, rounds: int) -> float:
    """Seconds of y = x W', dx = dy W and dW = dy' x together."""
    x, dx = (torch.randn(rows, inputs).to(dtype) for _ in range(2))
    y, dy = (torch.randn(rows, outputs).to(dtype) for _ in range(2))
    weight, gradient = (torch.randn(outputs, inputs).to(dtype) for _ in range(2))
    taken: list[float] = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        torch.mm(x, weight.t(), out=y)
        torch.mm(dy, weight, out=dx)
        torch.mm(dy.t(), x, out=gradient)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def commit(root: Path) -> str:
    """Of the checkout at `root`, and whether it was changed since."""
    git = ["git", "-C", str(root)]
    try:
        head, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + (" and changes" if changes else "")


def processor() -> str:
    """Its name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def main() -> None:
    """Print the rates for the model and number of threads that are given as JSON."""
    import torch

    values = json.loads(sys.argv[1])
    torch.set_num_threads(values["threads"])
    rates = gemm_rates(Shape(**values["shape"]), values["rounds"])
    print(ANSWER + json.dumps({"rates": rates, "torch": torch.__version__}))


if __name__ == "__main__":
    main()

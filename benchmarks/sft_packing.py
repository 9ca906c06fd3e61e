"""Forward and backward passes of SFT on padded and on packed rows: real tokens per second, as ratios.

Every batch goes through all layouts in turn, so that a busy machine slows them alike, and the median of the ratios
batch by batch counts.

    python benchmarks/sft_packing.py --model src/alignloop/assets/base --demonstrations demo/demonstrations
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel

from alignloop.config import Precision
from alignloop.data.batches import epoch_order
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration
from alignloop.models.loading import context_length, load_causal_lm, load_tokenizer
from alignloop.models.policy import log_probs_at
from alignloop.runs.artifact import open_artifact
from alignloop.sft.batches import Example, encode_demonstrations, lay_out
from alignloop.sft.objective import response_loss
from alignloop.training.step import autocast

BATCH = 32
Layout = tuple[Literal["bucketed", "packed"], int]
LAYOUTS: tuple[Layout, ...] = tuple(
    (packing, budget) for packing in ("bucketed", "packed") for budget in (1024, 2048, 4096)
)
BASELINE: Layout = ("bucketed", 4096)
"""The defaults."""


def seconds(
    model: PreTrainedModel, batch: list[Example], layout: Layout, precision: Precision
) -> float:
    """How long one batch takes, from lists of tokens to gradients."""
    start = time.perf_counter()
    for piece in lay_out(batch, *layout, 0, on_prompt=False):
        with autocast(precision):
            log_probs = log_probs_at(model, piece.rows, piece.is_learned)
        (response_loss(log_probs, piece.is_learned).total / BATCH).backward()
    taken = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--demonstrations", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--max-prompt-tokens", type=int, default=112, help="as in the demo")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_causal_lm(open_artifact(given.model, "policy").path).train()
    source = open_artifact(given.demonstrations, "demonstrations")
    examples, _ = encode_demonstrations(
        read_records(source.file("train.jsonl.gz"), Demonstration),
        Formatter.of(load_tokenizer(open_artifact(given.model, "policy").path)),
        context_length(model),
        given.max_prompt_tokens,
    )
    order = epoch_order(len(examples), 1, 0)
    times: dict[Layout, list[float]] = {layout: [] for layout in LAYOUTS}
    computed = dict.fromkeys(LAYOUTS, 0)
    real = 0
    for number in range(given.batches + 1):
        batch = [examples[i] for i in order[number * BATCH : (number + 1) * BATCH]]
        turn = number % len(LAYOUTS)
        for layout in (*LAYOUTS[turn:], *LAYOUTS[:turn]):
            taken = seconds(model, batch, layout, given.precision)
            if number:  # the first batch warms up
                times[layout].append(taken)
                pieces = lay_out(batch, *layout, 0, on_prompt=False)
                computed[layout] += sum(piece.rows.tokens.numel() for piece in pieces)
        real += sum(example.length for example in batch) if number else 0
    print(f"{'layout':<10}{'budget':>8}{'computed/real':>15}{'real tokens/s':>15}{'speed-up':>10}")
    for layout in LAYOUTS:
        ratios = [a / b for a, b in zip(times[BASELINE], times[layout], strict=True)]
        row = {
            "packing": layout[0],
            "micro_batch_tokens": layout[1],
            "computed_per_real_token": computed[layout] / real,
            "real_tokens_per_second": real / sum(times[layout]),
            "speed_up": statistics.median(ratios),
        }
        print(
            f"{layout[0]:<10}{layout[1]:>8}{row['computed_per_real_token']:>15.2f}"
            f"{row['real_tokens_per_second']:>15.0f}{row['speed_up']:>10.2f}   {json.dumps(row)}"
        )


if __name__ == "__main__":
    main()

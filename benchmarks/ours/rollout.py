"""The native engine, as PPO and `alignloop sample` call it: the log-probabilities of what it draws included."""

from __future__ import annotations

import time

import torch

from alignloop.data.formatter import Formatter
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.seeds import derive_seed
from benchmarks.job import Job, answer
from benchmarks.ours.stage import PACKAGES


def main() -> None:
    """Answer a new batch of prompts in every step; the tokens that were drawn are counted."""
    job = Job.read()
    torch.set_num_threads(job.threads)
    tokenizer = load_tokenizer(job.folder / "model")
    model = load_causal_lm(job.folder / "model", dtype=getattr(torch, job.precision))
    engine = NativeEngine(
        model,
        Formatter.of(tokenizer).end,
        precision=job.precision,
        is_compiled=bool(job.setting.get("compile")),
    )
    sampling = SamplingConfig(max_new_tokens=job.work["response"])
    prompts, batch = job.rows()["prompts"], job.work["batch"]
    tokens: list[int] = []
    seconds: list[float] = []
    for step in range(job.skip + job.steps):
        asked = prompts[step * batch : (step + 1) * batch]
        seeds = [derive_seed(1, "rollout", step, row) for row in range(batch)]
        began = time.perf_counter()
        drawn = engine.generate(asked, seeds, sampling)
        seconds.append(time.perf_counter() - began)
        tokens.append(sum(len(response.tokens) for response in drawn))
    answer(job, tokens[job.skip :], seconds[job.skip :], sampling.model_dump(mode="json"), PACKAGES)


if __name__ == "__main__":
    main()

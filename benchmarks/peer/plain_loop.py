"""The loop that anyone would write: a transformers model, its own loss over all positions, clip, fused AdamW."""

from __future__ import annotations

import contextlib
import time

import torch
import transformers

from benchmarks.job import Job, answer


def main() -> None:
    """The rows of the training step, in forward passes of `batch` of the setting."""
    job = Job.read()
    torch.set_num_threads(job.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(job.folder / "model"), dtype=torch.float32
    ).train()
    if job.setting.get("compile"):
        model.forward = torch.compile(model.forward)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
    rows, batch = job.rows(), job.work["batch"]
    tokens = [[*p, *r] for p, r in zip(rows["prompts"], rows["responses"], strict=True)]
    forward = min(int(job.setting.get("batch", batch)), batch)
    seconds: list[float] = []
    for step in range(job.skip + job.steps):
        chosen = torch.tensor(tokens[step * batch : (step + 1) * batch])
        began = time.perf_counter()
        for piece in chosen.split(forward):
            is_bfloat16 = job.precision == "bfloat16"
            with torch.autocast("cpu", torch.bfloat16) if is_bfloat16 else contextlib.nullcontext():
                loss = model(input_ids=piece, labels=piece, use_cache=False).loss
            (loss * (len(piece) / batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - began)
    config = {"rows_per_forward": forward, "compile": bool(job.setting.get("compile"))}
    units = [batch * job.work["length"]] * job.steps
    answer(job, units, seconds[job.skip :], config, ("torch", "transformers"))


if __name__ == "__main__":
    main()

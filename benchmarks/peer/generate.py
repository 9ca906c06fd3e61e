"""`generate` of Hugging Face transformers, sampling without top-k or top-p; no log-probabilities are asked for."""

from __future__ import annotations

import time

import torch
import transformers

from benchmarks.job import Job, answer


def main() -> None:
    """Answer a new batch of prompts in every step; tokens after a row's end are not counted."""
    job = Job.read()
    torch.set_num_threads(job.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(job.folder / "model"), dtype=getattr(torch, job.precision)
    ).eval()
    end = model.config.eos_token_id
    options = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": job.work["response"],
        "pad_token_id": model.config.pad_token_id,
        "eos_token_id": end,
    }
    if cache := job.setting.get("cache"):
        options["cache_implementation"] = cache
    if job.setting.get("compile"):
        model.forward = torch.compile(model.forward)
    prompts, batch = job.rows()["prompts"], job.work["batch"]
    tokens: list[int] = []
    seconds: list[float] = []
    torch.manual_seed(1)
    for step in range(job.skip + job.steps):
        asked = torch.tensor(prompts[step * batch : (step + 1) * batch])
        began = time.perf_counter()
        with torch.inference_mode():
            drawn = model.generate(asked, attention_mask=torch.ones_like(asked), **options)
        seconds.append(time.perf_counter() - began)
        is_end = (drawn[:, asked.shape[1] :] == end).long()
        tokens.append(int((is_end.cumsum(dim=1) - is_end == 0).sum()))
    packages = ("transformers", "torch")
    answer(job, tokens[job.skip :], seconds[job.skip :], options, packages)


if __name__ == "__main__":
    main()

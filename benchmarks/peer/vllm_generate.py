"""vLLM on this CPU, in this process; no log-probabilities are asked for."""

from __future__ import annotations

import os
import time

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # peak memory is then this process's
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from vllm import LLM, SamplingParams

from benchmarks.job import Job, answer


def main() -> None:
    """Answer a new batch of prompts in every step: the prefix cache is off, since no prompt comes twice."""
    job = Job.read()
    values = {
        "dtype": job.precision,
        "max_model_len": job.shape.context,
        "max_num_seqs": job.work["batch"],
        "enable_prefix_caching": False,
        "enforce_eager": bool(job.setting.get("eager", False)),
        "skip_tokenizer_init": True,
        "disable_log_stats": True,
        "seed": 1,
    }
    llm = LLM(model=str(job.folder / "model"), **values)
    rows = job.rows()["prompts"]
    end = llm.llm_engine.model_config.hf_config.eos_token_id
    sampling = SamplingParams(
        temperature=1.0, max_tokens=job.work["response"], stop_token_ids=[end], detokenize=False
    )
    batch = job.work["batch"]
    tokens: list[int] = []
    seconds: list[float] = []
    for step in range(job.skip + job.steps):
        asked = [{"prompt_token_ids": p} for p in rows[step * batch : (step + 1) * batch]]
        began = time.perf_counter()
        drawn = llm.generate(asked, sampling, use_tqdm=False)
        seconds.append(time.perf_counter() - began)
        tokens.append(sum(len(one.outputs[0].token_ids) for one in drawn))
    packages = ("vllm-cpu", "torch", "transformers")
    answer(job, tokens[job.skip :], seconds[job.skip :], values, packages)


if __name__ == "__main__":
    main()

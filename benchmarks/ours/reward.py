"""`alignloop reward` on whole rankings: every completion once, its prompt once for all of them."""

from __future__ import annotations

from benchmarks.job import Job
from benchmarks.ours.stage import NEVER, measure


def main() -> None:
    """One epoch over as many rankings as there are steps for; the last step validates and is not timed."""
    job = Job.read()
    completions = job.work["completions"]
    pairs = job.work["batch"] * completions * (completions - 1) // 2
    measure(
        "reward",
        job,
        {
            "batch_size": job.work["batch"],
            "precision": job.precision,
            "valid_every": NEVER,
            "checkpoint_every": NEVER,
        },
        [pairs] * job.steps,
        model=job.folder / "model",
        rankings=job.folder / "rankings",
        demonstrations=job.folder / "demonstrations",
    )


if __name__ == "__main__":
    main()

"""`alignloop sft`: story tasks of unequal length, or rows of one length that are learned whole."""

from __future__ import annotations

from alignloop.data.batches import epoch_order
from benchmarks.job import Job
from benchmarks.ours.stage import NEVER, measure

SEED = 1


def main() -> None:
    """One epoch; the last step validates and is not timed. Real tokens are counted, prompts included."""
    job = Job.read()
    rows, batch = job.rows(), job.work["batch"]
    lengths = [len(p) + len(r) for p, r in zip(rows["prompts"], rows["responses"], strict=True)]
    order = epoch_order(len(lengths), SEED, 0)
    steps = [order[at : at + batch] for at in range(0, len(order), batch)]
    timed = steps[job.skip : job.skip + job.steps]
    measure(
        "sft",
        job,
        {
            "seed": SEED,
            "epochs": 1,
            "batch_size": batch,
            "optimizer": {"learning_rate": 1e-4},
            "residual_dropout": 0.0,  # the peers' models have none
            "loss_on_prompt": job.name == "training-step",
            "precision": job.precision,
            "checkpoint_every": NEVER,
        },
        [sum(lengths[i] for i in step) for step in timed],
        model=job.folder / "model",
        demonstrations=job.folder / "demonstrations",
    )


if __name__ == "__main__":
    main()

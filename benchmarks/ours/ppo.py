"""`alignloop ppo` without pretraining gradients, which the peer does not have."""

from __future__ import annotations

from benchmarks.job import Job
from benchmarks.ours.stage import NEVER, measure


def main() -> None:
    """As many iterations as are skipped and timed."""
    job, work = Job.read(), Job.read().work
    optimizer = {"learning_rate": 1e-5, "schedule": "constant"}
    measure(
        "ppo",
        job,
        {
            "episodes": work["batch"] * (job.skip + job.steps),
            "batch_size": work["batch"],
            "minibatch_size": work["batch"] // work["minibatches"],
            "inner_epochs": work["epochs"],
            "sampling": {"max_new_tokens": work["response"]},
            "kl_coef": 0.02,
            "ptx_coef": 0.0,
            "policy_optimizer": optimizer,
            "value_optimizer": optimizer,
            "warmup_iterations": 0,
            "precision": job.precision,
            "rollout_precision": job.precision,
            "checkpoint_every": NEVER,
            "samples_every": NEVER,
        },
        [work["batch"]] * job.steps,
        policy=job.folder / "model",
        reward_model=job.folder / "reward-model",
        prompts=job.folder / "prompts",
    )


if __name__ == "__main__":
    main()

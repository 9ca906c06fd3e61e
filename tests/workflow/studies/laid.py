"""A foundation of tiny models and made-up rankings, so that whole studies run in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignloop.data.jsonl import write_records
from alignloop.data.records import Ranking
from alignloop.runs.artifact import write_artifact
from alignloop.workflow.demo import Demo
from alignloop.workflow.studies.foundation import BaseName, Foundation, Ground
from tests.helpers import (
    REWARD,
    SFT,
    ranking,
    run,
    write_demonstrations,
    write_model,
    write_prompts,
)

LABELERS = ("ann", "bob", "cy", "dee", "eve")
ORDERS = ((1, 2, 3, 3, 4, 5, 6, 7, 8), (8, 7, 6, 5, 4, 3, 2, 1, 1))


def by(labeler: str, number: int, k: int = 9) -> Ranking:
    """Prompt `number` ranked by a labeler; two of the five see it the other way round."""
    order = ORDERS[LABELERS.index(labeler) % 2]
    return ranking(number, order[:k]).model_copy(update={"labeler": labeler})


def lay(folder: Path) -> Path:
    """The artefacts that studies need, where a finished demo would have them."""
    prompts = 10
    write_model(folder / "model")
    demonstrations = write_demonstrations(folder / "demonstrations" / "artifact")
    write_prompts(folder / "prompts" / "artifact")
    used = [by(LABELERS[n % 5], n) for n in range(prompts)]
    by_all = [by(labeler, n) for n in range(prompts) for labeler in LABELERS]
    files = {
        "rankings": {
            "train": [by("ann", n, 4) for n in range(8)],
            "valid": [by("ann", 8, 4), by("ann", 9, 4)],
        },
        "rankings_k9": {"train": used[:7], "valid": used[7:]},
        "rankings_by_all": {"train": used, "shared": by_all, "valid": used[:1]},
    }
    for name, sides in files.items():

        def write(inside: Path, sides: dict[str, list[Ranking]] = sides) -> None:
            for side, rows in sides.items():
                write_records(inside / f"{side}.jsonl.gz", rows)

        write_artifact(folder / name / "artifact", "rankings", write, parents=[], facts={})
    alone = SFT | {"pretraining_mix": 0.0}
    run("sft", folder / "sft", alone, model=folder / "model", demonstrations=demonstrations)
    run(
        "reward",
        folder / "reward",
        REWARD,
        model=folder / "sft",
        rankings=folder / "rankings" / "artifact",
        demonstrations=demonstrations,
    )
    return folder


@dataclass(frozen=True, slots=True)
class TinyGround(Ground):
    """A ground whose foundations are all the same finished one, whatever base is asked for."""

    laid: Path = Path()

    def foundation(self, base: BaseName, seed: int) -> Foundation:
        """Of that seed; what is trained on it is a smoke run."""

        def demo(name: str) -> Demo:
            return Demo(self.folder / "foundations" / name, seed, True, "float32", self.say, {})

        return Foundation(
            demo(f"{base}_seed_{seed}"), demo("shared"), base, self.laid / "model", self.laid
        )


def tiny_ground(folder: Path, laid: Path) -> TinyGround:
    """Of a folder for studies and one that `lay` filled."""
    return TinyGround(folder, "float32", True, print, laid=laid)

"""Draw K distinct completions per prompt; distinct in their text, since nobody can rank a text against itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import write_records
from alignloop.data.records import Completion, Completions, Prompt
from alignloop.generation.engine import Engine, completion_of
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import context_length, load_causal_lm, load_tokenizer
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.sampling.config import SampleConfig
from alignloop.sampling.scored import open_prompts, read_prompts
from alignloop.seeds import derive_seed


def sample(
    config: SampleConfig, run: Run, *, model: Path, prompts: Path, files: Sequence[str], name: str
) -> Artifact:
    """Draw completions for some files of a `prompts` artefact; leaves a `completions` artefact with the same files.

    Args:
        files: which of the artefact's files, without suffix (`rankings`, `valid`).
        name: what the completions call the model that wrote them.
    """
    policy = run.input("model", model, "policy")
    source = open_prompts(run, prompts)
    formatter = Formatter.of(load_tokenizer(policy.path))
    model_read = load_causal_lm(policy.path)
    engine = NativeEngine(model_read, formatter.end, config.precision)
    context = context_length(model_read)
    drawn: dict[str, list[Completions]] = {}
    dropped: dict[str, int] = {}
    for file in files:
        records = read_prompts(source, file, config.limit, config.seed)
        formatter.prompts_with_room(records, config.sampling.max_new_tokens, context)
        drawn[file] = distinct_completions(engine, formatter, records, config, name)
        dropped[file] = len(records) - len(drawn[file])

    def write(folder: Path) -> None:
        for file, completions in drawn.items():
            write_records(folder / f"{file}.jsonl.gz", completions)

    return run.finish(
        "completions",
        write,
        {
            "prompts": {file: len(rows) for file, rows in drawn.items()},
            "completions": {
                file: sum(len(r.completions) for r in rows) for file, rows in drawn.items()
            },
            "dropped_prompts": dropped,
        },
    )


def distinct_completions(
    engine: Engine, formatter: Formatter, prompts: Sequence[Prompt], config: SampleConfig, name: str
) -> list[Completions]:
    """K distinct, non-empty completions for every prompt that yields them within the allowed rounds."""
    wanted = [
        int(
            np.random.default_rng(derive_seed(config.seed, "k", p.id)).integers(
                config.k_min, config.k_max + 1
            )
        )
        for p in prompts
    ]
    encoded = formatter.prompts(prompts)
    found: list[dict[str, Completion]] = [{} for _ in prompts]
    with progress(sum(wanted), f"sample from {name}", "completion") as bar:
        for draw in range(config.draws):
            rows = [i for i, k in enumerate(wanted) for _ in range(k - len(found[i]))]
            if not rows:
                break
            counts: dict[int, int] = {}
            seeds: list[int] = []
            for i in rows:
                counts[i] = counts.get(i, 0) + 1
                seeds.append(derive_seed(config.seed, "completion", prompts[i].id, draw, counts[i]))
            responses = engine.generate(
                [encoded[i] for i in rows], seeds, config.sampling, bar.update
            )
            for i, response in zip(rows, responses, strict=True):
                completion = completion_of(response, formatter, name)
                if completion.text:
                    found[i].setdefault(completion.text, completion)
    return [
        Completions(prompt=prompt, completions=tuple(texts.values()))
        for prompt, texts, k in zip(prompts, found, wanted, strict=True)
        if len(texts) == k
    ]

"""Tasks written for the lm-evaluation-harness: asked through the server they give the figures of `evaluate tasks`."""

from __future__ import annotations

import dataclasses
import gzip
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer

from alignloop.errors import DataError
from alignloop.evaluation.suite.harness import RULE, write_harness_tasks
from alignloop.evaluation.tasks.catalogue import task_called
from alignloop.serving.policy import ServedPolicy
from tests.helpers import SENTENCES, run, write_model
from tests.serving.site import Site, served

CONTEXT = 160
NAME = "alignloop_p3_sentiment"
NOT_THERE = "lm-evaluation-harness is not installed: pip install 'lm_eval[api]'"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Choices of several lengths; one question is too long for the model, one ends in a newline."""
    choices = [["bad", "good"], ["They did not like it", "They loved it"], ["No", "Yes"]]
    texts = [f"{one} What does the writer think?" for one in SENTENCES[:9]]
    texts += [" ".join(SENTENCES) * 2, "Was the fox glad?\n"]
    found = [
        {
            "template": "t",
            "dataset": "d",
            "cluster": "sentiment",
            "passage": f"d/{n}",
            "prompt": text,
            "completion": choices[n % 3][n % 2],
            "choices": choices[n % 3],
        }
        for n, text in enumerate(texts)
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("policy"), context=CONTEXT, seed=3)


@pytest.fixture(scope="module")
def site(policy: Path) -> Iterator[Site]:
    with served([ServedPolicy.load("p", policy)]) as found:
        yield found


def ours(folder: Path, policy: Path, rows: Path, form: str) -> list[dict[str, Any]]:
    """What `evaluate tasks` counts, item by item."""
    config = {"resamples": 100, "format": form}
    run("evaluate_tasks", folder, config, policies={"p": policy}, tasks={"task p3_sentiment": rows})
    with gzip.open(folder / "artifact" / "outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def asked_as_by_the_harness(
    site: Site, policy: Path, item: dict[str, Any]
) -> list[tuple[float, bool]]:
    """Its requests: tokens of the whole, what is beyond the context's is the choice; one token more is drawn."""
    tokenizer = AutoTokenizer.from_pretrained(policy)

    def read(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    kept = item["context"].rstrip()
    moved = item["context"][len(kept) :]
    results: list[tuple[float, bool]] = []
    for choice in item["choices"]:
        tokens, before = read(kept + moved + choice), len(read(kept))
        reply = site.post(
            "/v1/completions", model="p", prompt=[tokens], temperature=0, max_tokens=1, logprobs=1,
            seed=1234, echo=True,
        )  # fmt: skip
        assert reply.status_code == 200, reply.text
        [answer] = reply.json()["choices"]
        results.append((sum(answer["logprobs"]["token_logprobs"][before:-1]), False))
    return results


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_the_harness_gets_our_figures_item_by_item(
    tmp_path: Path, site: Site, policy: Path, rows: Path, form: str
) -> None:
    task = task_called("p3_sentiment")
    expected = ours(tmp_path / "run", policy, rows, form)

    [written] = write_harness_tasks(task, rows, policy, form, tmp_path / "h", seed=1, limit=None)

    assert written.name == NAME
    described = (tmp_path / "h" / f"{NAME}.yaml").read_text()
    described = yaml.safe_load(described.replace("!function", ""))
    items = Path(described["dataset_kwargs"]["data_files"]["test"])
    rule = runpy.run_path(str(tmp_path / "h" / f"{RULE}.py"))["process_results"]
    asked = [json.loads(line) for line in items.read_text().splitlines()]
    agreed = 0
    for item, row in zip(asked, expected, strict=True):
        results = asked_as_by_the_harness(site, policy, item)
        totals = [total for total, _ in results]
        if totals == pytest.approx(row["log_probs"], abs=1e-4):
            agreed += 1
            assert item["tokens"] == row["tokens"]
            found = rule(item, results)
            assert found["accuracy"] == row["scores"]["accuracy"][0]
            assert found["acc"] == float(totals.index(max(totals)) == item["label"])
    # only the item that fills the context has another prompt: the harness leaves room for a token more
    assert [row["cut"] for row in expected].count(True) == 1
    assert (written.items, written.differing, agreed) == (11, 1, 10)


def test_what_the_harness_reads_as_other_tokens_is_counted(
    tmp_path: Path, policy: Path, rows: Path
) -> None:
    """In a chat a choice follows the mark at once; where it is joined to the prompt otherwise, tokens may merge."""
    row = {"ctx": "The old hen had three", "endings": ["small eggs.", "eggs"], "label": 0}
    lines = [{**row, "ind": 1}, {**row, "ind": 2, "ctx": "The old hen\u0301 had three"}]
    path = tmp_path / "hellaswag.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    special = {
        **row,
        "ind": 3,
        "ctx": "The old <|end|> hen had three",
    }  # spelled out here, a mark there
    mixed = tmp_path / "special.jsonl"
    mixed.write_text("".join(json.dumps(one) + "\n" for one in (*lines, special)))
    task = dataclasses.replace(task_called("hellaswag"), shots=(0,))

    [same] = write_harness_tasks(task, path, policy, "plain", tmp_path, seed=1, limit=None)
    [other] = write_harness_tasks(task, mixed, policy, "plain", tmp_path, seed=1, limit=None)

    assert (same.items, same.differing) == (2, 0)
    assert (other.items, other.differing) == (3, 1)


def test_a_task_that_is_written_is_refused(tmp_path: Path, policy: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"id": "1", "prompt": "Once there"}) + "\n")
    task = task_called("real_toxicity")

    with pytest.raises(DataError, match="'real_toxicity' is written and not chosen"):
        write_harness_tasks(task, path, policy, "plain", tmp_path, seed=1, limit=None)


@pytest.mark.full
def test_the_harness_itself_gets_our_figures(
    tmp_path: Path, site: Site, policy: Path, rows: Path
) -> None:
    harness = pytest.importorskip("lm_eval", reason=NOT_THERE)
    tasks = pytest.importorskip("lm_eval.tasks", reason=NOT_THERE)
    task = task_called("p3_sentiment")
    expected = ours(tmp_path / "run", policy, rows, "plain")
    [written] = write_harness_tasks(task, rows, policy, "plain", tmp_path / "h", seed=1, limit=None)
    arguments = {
        "model": "p",
        "base_url": f"{site.url}/v1/completions",
        "tokenizer": str(policy),
        "tokenizer_backend": "huggingface",
        "max_length": CONTEXT,
    }

    found = harness.simple_evaluate(
        model="local-completions",
        model_args=arguments,
        tasks=[NAME],
        task_manager=tasks.TaskManager(include_path=str(tmp_path / "h"), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )

    samples = sorted(found["samples"][NAME], key=lambda sample: sample["doc_id"])
    assert len(samples) == len(expected) == written.items
    assert written.differing == 1
    for sample, row in zip(samples, expected, strict=True):
        if row["cut"]:
            continue
        totals = [float(one[0][0]) for one in sample["resps"]]
        assert totals == pytest.approx(row["log_probs"], abs=1e-4)
        assert sample["accuracy"] == row["scores"]["accuracy"][0]
    mean = sum(sample["accuracy"] for sample in samples) / len(samples)
    assert found["results"][NAME]["accuracy,none"] == pytest.approx(mean)

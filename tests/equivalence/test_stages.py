"""The other stages through their real loops: micro-batches, budgets, epochs; the chain on any architecture."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from alignloop.data.batches import PackedText
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Completions, Demonstration, Ranking, Text
from alignloop.errors import Interrupted
from alignloop.generation.engine import Response
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import save_model
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.runs.artifact import open_artifact
from alignloop.sampling.config import SampleConfig
from alignloop.sampling.sample import distinct_completions
from alignloop.seeds import derive_seed
from alignloop.sft.batches import encode_demonstrations
from alignloop.sft.config import SFTConfig
from tests.helpers import (
    CONTEXT,
    PPO,
    PRETRAIN,
    REWARD,
    SFT,
    _write,
    demonstration,
    foreign_tokenizer,
    metrics,
    prompt,
    results,
    run,
    tiny_model,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
    write_text,
)
from tests.reference import formulas


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of every stage, by kind."""
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "model")
    write_text(folder / "text")
    write_demonstrations(folder / "demonstrations")
    write_prompts(folder / "prompts")
    write_rankings(folder / "rankings")
    return folder


def sft(folder: Path, out: Path, **changes: object) -> list[dict[str, float]]:
    inputs = {name: folder / name for name in ("model", "demonstrations", "text")}
    run("sft", out, SFT | changes, **inputs)
    return metrics(out)


def same(one: list[dict[str, float]], other: list[dict[str, float]]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, rel=2e-4, abs=2e-6)


# --- SFT ---


def test_sft_does_not_depend_on_micro_batches(folder: Path, tmp_path: Path) -> None:
    """Losses, gradient norms and all, over two epochs; without dropout, which draws per forward pass."""
    for name, on_prompt in (("response", False), ("prompt", True)):
        common = {"residual_dropout": 0.0, "loss_on_prompt": on_prompt}
        small = sft(folder, tmp_path / f"{name}-small", micro_batch_tokens=1, **common)
        large = sft(folder, tmp_path / f"{name}-large", micro_batch_tokens=100_000, **common)
        same(small, large)


def test_the_first_sft_loss_is_the_mean_over_response_tokens(folder: Path, tmp_path: Path) -> None:
    """Token mean, not mean of row means; EOS counted, prompt not."""
    config = {"batch_size": 10, "epochs": 1, "residual_dropout": 0.0, "pretraining_mix": 0.0}
    [row] = sft(folder, tmp_path / "run", **config)

    model, formatter = tiny_model(), Formatter.of(tiny_tokenizer())
    total, count = 0.0, 0
    for i in range(10):
        record = demonstration(i)
        asked, answered = formatter.prompt(record.prompt), formatter.response(record.response)
        tokens = torch.tensor([[*asked, *answered]])
        with torch.no_grad():
            log_probs = torch.log_softmax(model(tokens).logits[0].double(), dim=-1)
        for at in range(len(asked), tokens.shape[1]):
            total -= float(log_probs[at - 1, tokens[0, at]])
            count += 1
    assert row["loss"] == pytest.approx(total / count, rel=1e-5)
    assert row["tokens"] == count


def test_with_loss_on_prompt_it_is_the_mean_over_every_token_but_the_first(
    folder: Path, tmp_path: Path
) -> None:
    config = {"batch_size": 10, "epochs": 1, "residual_dropout": 0.0, "pretraining_mix": 0.0}
    [row] = sft(folder, tmp_path / "run", loss_on_prompt=True, **config)

    model, formatter = tiny_model(), Formatter.of(tiny_tokenizer())
    total, count = 0.0, 0
    for i in range(10):
        record = demonstration(i)
        text = formatter.prompt(record.prompt) + formatter.response(record.response)
        tokens = torch.tensor([text])
        with torch.no_grad():
            log_probs = torch.log_softmax(model(tokens).logits[0].double(), dim=-1)
        total -= sum(float(log_probs[at - 1, text[at]]) for at in range(1, len(text)))
        count += len(text) - 1
    assert row["loss"] == pytest.approx(total / count, rel=1e-5)


def test_dropout_acts_in_training_and_not_in_validation(folder: Path, tmp_path: Path) -> None:
    still = {"optimizer": {"learning_rate": 1e-15}, "pretraining_mix": 0.0, "epochs": 1}
    without, dropped = (
        sft(folder, tmp_path / str(share), residual_dropout=share, **still) for share in (0.0, 0.2)
    )

    assert abs(dropped[0]["loss"] - without[0]["loss"]) > 1e-3
    assert dropped[-1]["valid_loss"] == pytest.approx(without[-1]["valid_loss"], rel=1e-6)


def test_sft_learns_and_keeps_every_epoch(folder: Path, tmp_path: Path) -> None:
    rows = sft(folder, tmp_path / "run", epochs=3, optimizer={"learning_rate": 1e-2})

    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert [row["step"] for row in rows if "valid_loss" in row] == [4, 8, 12]
    assert rows[-1]["epoch"] == 3
    epochs = [open_artifact(tmp_path / "run" / "epochs" / f"epoch_0{i}", "policy") for i in (1, 2)]
    last = open_artifact(tmp_path / "run", "policy")
    assert len({artifact.sha256 for artifact in (*epochs, last)}) == 3
    AutoModelForCausalLM.from_pretrained(epochs[0].path)


def test_the_sft_budget_in_response_tokens_overrides_the_epochs(
    folder: Path, tmp_path: Path
) -> None:
    rows = sft(folder, tmp_path / "run", response_tokens=500, epochs=1)

    assert rows[-1]["tokens"] >= 500 > rows[-2]["tokens"]
    artifact = open_artifact(tmp_path / "run", "policy")
    assert artifact.facts["response_tokens"] == rows[-1]["tokens"]


def test_the_pretraining_mix_is_a_share_of_the_gradient(folder: Path, tmp_path: Path) -> None:
    """With two shares s the losses are the same and the gradient is (1 - s) g_demo + s g_text."""
    common = {"epochs": 1, "batch_size": 10, "residual_dropout": 0.0}
    norms = {}
    for share in (0.05, 0.1):  # one block of text goes with ten demonstrations in both
        [row] = sft(folder, tmp_path / str(share), pretraining_mix=share, **common)
        norms[share] = row["gradient_norm"]
        losses = row["loss"], row["pretraining_loss"]
    [pure] = sft(folder, tmp_path / "pure", pretraining_mix=0.0, **common)

    assert losses[0] == pytest.approx(pure["loss"], rel=1e-5)
    demo = pure["gradient_norm"]
    # From both norms: |g_text|^2 and the product of the two gradients; the pure run closes the system.
    a, b = (norms[s] ** 2 - ((1 - s) * demo) ** 2 for s in (0.05, 0.1))
    # a = 2 s (1 - s) d + s^2 t for unknown d, t
    matrix = torch.tensor([[2 * s * (1 - s), s * s] for s in (0.05, 0.1)], dtype=torch.float64)
    dot, square = torch.linalg.solve(matrix, torch.tensor([a, b], dtype=torch.float64)).tolist()
    assert square > 0
    assert abs(dot) <= demo * square**0.5 * 1.05, "a cosine"


def test_the_pretraining_mix_goes_through_the_text(folder: Path, tmp_path: Path) -> None:
    """With weights that do not move, another loss at each update means another block of text."""
    still = {"learning_rate": 1e-15}
    rows = sft(folder, tmp_path / "run", optimizer=still, residual_dropout=0.0)

    losses = [row["pretraining_loss"] for row in rows]
    assert len(losses) == 8
    assert len({round(loss, 4) for loss in losses}) > 4


def test_the_pretraining_mix_is_validated_on_held_out_text(folder: Path, tmp_path: Path) -> None:
    """By hand: every block of the validation side, through the policy that the run left."""
    rows = sft(folder, tmp_path / "run", pretraining_tokens=31, residual_dropout=0.0)
    validated = [row for row in rows if "valid_loss" in row]

    assert len(validated) == SFT["epochs"]
    tokenizer = tiny_tokenizer()
    text = folder / "text" / "valid.jsonl.gz"
    packed = PackedText.read(text, tokenizer, 31, SFT["seed"])
    blocks = packed.batch(0, packed.blocks_per_epoch)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "artifact")
    with torch.no_grad():
        logits = model(blocks[:, :-1]).logits.flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, blocks[:, 1:].flatten())
    assert validated[-1]["valid_pretraining_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_long_prompts_are_left_out_and_counted_where_asked() -> None:
    formatter = Formatter.of(tiny_tokenizer())
    long = Demonstration(prompt=prompt(1, text="word " * 100), response="Yes.")
    rows = [demonstration(0), long]

    examples, dropped = encode_demonstrations(rows, formatter, CONTEXT, 60)

    assert (len(examples), dropped) == (1, 1)


# --- the reward model ---


def test_the_reward_model_does_not_depend_on_micro_batches(folder: Path, tmp_path: Path) -> None:
    found = []
    for budget in (1, 100_000):
        inputs = {name: folder / name for name in ("model", "rankings", "demonstrations")}
        out = tmp_path / str(budget)
        run("reward", out, REWARD | {"micro_batch_tokens": budget, "batch_size": 4}, **inputs)
        found.append(metrics(out))

    same(*found)
    assert found[0][0]["comparisons"] > 4


def test_ties_as_half_a_preference_are_learned_from_where_asked(
    folder: Path, tmp_path: Path
) -> None:
    """The same first batch, by hand from the scores of a fresh head; a ranking of ties alone counts as well."""
    rows = read_records(folder / "rankings" / "train.jsonl.gz", Ranking)
    tied = rows[0].model_copy(update={"ranks": (1,) * len(rows[0].ranks)})
    made = {"train": [tied, *rows[1:]], "valid": rows[:2]}
    rankings = _write(tmp_path / "rankings", "rankings", made).path
    inputs = {"model": folder / "model", "demonstrations": folder / "demonstrations"}
    config = REWARD | {"batch_size": 8, "epochs": 1}

    found = {}
    for ties in ("drop", "half"):
        out = tmp_path / ties
        run("reward", out, config | {"ties": ties}, rankings=rankings, **inputs)
        [found[ties]] = metrics(out)

    scorer = ScalarModel.load(folder / "model")
    scorer.new_head(derive_seed(REWARD["seed"], "head"))
    formatter = Formatter.of(tiny_tokenizer())
    losses: dict[str, list[float]] = {"drop": [], "half": []}
    for row in made["train"]:
        tokens = [formatter.completion(one) for one in row.completions]
        scores = reward_scores(scorer, formatter, [row.prompt] * len(tokens), tokens)
        for ties, each in losses.items():
            if ties == "half" or len(set(row.ranks)) > 1:
                loss = formulas.ranking_loss(
                    scores, row.ranks, "kept_pairs", halves_ties=ties == "half"
                )
                each.append(loss)
    assert (len(losses["drop"]), len(losses["half"])) == (7, 8)
    for ties, each in losses.items():
        assert found[ties]["loss"] == pytest.approx(sum(each) / len(each), rel=1e-4), ties
    assert found["half"]["loss"] != pytest.approx(found["drop"]["loss"], rel=1e-3)


# --- sampling ---


def sample(folder: Path, out: Path, **changes: object) -> Path:
    values = {"k_min": 2, "k_max": 4, "sampling": {"max_new_tokens": 8}, **changes}
    run(
        "sample",
        out,
        values,
        model=folder / "model",
        prompts=folder / "prompts",
        files=("rankings", "valid"),  # type: ignore[arg-type]
        name="tiny",  # type: ignore[arg-type]
    )
    return out


def test_completions_are_drawn_in_the_precision_that_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    """Rounding tips a draw now and then, so some answers differ, and most do not."""
    rough, fine = (
        results(sample(folder, tmp_path / name, **changes))
        for name, changes in (("rough", {"precision": "bfloat16"}), ("fine", {}))
    )
    again = results(sample(folder, tmp_path / "again", precision="bfloat16"))

    files = "artifact/rankings.jsonl.gz"
    assert again[files] == rough[files] != fine[files]


def test_sampling_gives_k_distinct_completions_and_the_same_ones_again(
    folder: Path, tmp_path: Path
) -> None:
    first, second = (sample(folder, tmp_path / name) for name in ("a", "b"))

    rows = read_records(first / "artifact" / "rankings.jsonl.gz", Completions)
    assert rows
    for row in rows:
        texts = [completion.text for completion in row.completions]
        assert 2 <= len(texts) <= 4
        assert len(set(texts)) == len(texts)
        assert all(texts)
        assert all(c.finished or c.tokens == 8 for c in row.completions)
    assert len({len(row.completions) for row in rows}) > 1
    assert results(first) == results(second)


def test_a_prompt_that_never_yields_k_distinct_completions_is_dropped_and_counted(
    folder: Path, tmp_path: Path
) -> None:
    cold = {"max_new_tokens": 8, "temperature": 1e-6}
    out = sample(folder, tmp_path / "run", sampling=cold)

    artifact = open_artifact(out, "completions")
    assert artifact.facts["dropped_prompts"] == {"rankings": 4, "valid": 4}
    assert artifact.facts["prompts"] == {"rankings": 0, "valid": 0}


def test_every_redraw_has_a_seed_of_its_own() -> None:
    """An engine that always says the same: three are wanted, one is found, two are drawn again in each round."""
    formatter, seeds = Formatter.of(tiny_tokenizer()), list[int]()

    class Parrot:
        def generate(
            self, prompts: Sequence[object], drawn: Sequence[int], *_: object
        ) -> list[Response]:
            seeds.extend(drawn)
            tokens = formatter.response("yes")
            return [Response(tokens, [0.0] * len(tokens), finished=True) for _ in prompts]

    config = SampleConfig(k_min=3, k_max=3, draws=4)

    found = distinct_completions(Parrot(), formatter, [prompt(0), prompt(1)], config, "parrot")

    assert found == []
    assert len(seeds) == 2 * (3 + 2 + 2 + 2)
    assert len(set(seeds)) == len(seeds)


def test_the_prompts_of_demonstrations_can_be_answered_for_ranking_too(
    folder: Path, tmp_path: Path
) -> None:
    """The train side under the name that the reward model learns from; each prompt once."""
    run(
        "sample",
        tmp_path / "run",
        {"k_min": 2, "k_max": 2, "sampling": {"max_new_tokens": 8}},
        model=folder / "model",
        prompts=write_demonstrations(tmp_path / "demonstrations"),
        files=("rankings", "valid"),  # type: ignore[arg-type]
        name="tiny",  # type: ignore[arg-type]
    )

    made = tmp_path / "run" / "artifact"
    asked = {
        side: [row.prompt.id for row in read_records(made / f"{side}.jsonl.gz", Completions)]
        for side in ("rankings", "valid")
    }
    assert asked["rankings"] == [f"prompt-{i}" for i in range(10)]
    assert asked["valid"] == [f"prompt-{i}" for i in range(10, 13)]


def test_sampling_stops_when_asked_and_goes_on_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate, asked = NativeEngine.generate, [False]

    def terminated(self: NativeEngine, *arguments: object, **options: object) -> object:
        if not asked[0]:
            asked[0] = True
            os.kill(os.getpid(), signal.SIGTERM)
        return generate(self, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(Interrupted) as stopped:
        patched.setattr(NativeEngine, "generate", terminated)
        sample(folder, tmp_path / "run")
    assert stopped.value.exit_code == 143

    run(
        "sample",
        tmp_path / "run",
        {"k_min": 2, "k_max": 4, "sampling": {"max_new_tokens": 8}},
        resume=True,
        model=folder / "model",
        prompts=folder / "prompts",
        files=("rankings", "valid"),  # type: ignore[arg-type]
        name="tiny",  # type: ignore[arg-type]
    )
    assert results(tmp_path / "run") == results(sample(folder, tmp_path / "whole"))


# --- pretraining ---


@pytest.fixture(scope="module")
def pretrained(folder: Path) -> dict[str, bytes]:
    run("pretrain", folder / "pretrained", PRETRAIN, text=folder / "text")
    return results(folder / "pretrained")


def test_pretraining_killed_while_the_tokenizer_was_written_goes_on(
    folder: Path, pretrained: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config is written before the tokenizer itself; and the last file may be half of itself."""
    save = PreTrainedTokenizerFast.save_pretrained

    for kept in (0, 1000):

        def cut_short(self: PreTrainedTokenizerFast, where: str, kept: int = kept) -> None:
            save(self, where)
            whole = (Path(where) / "tokenizer.json").read_bytes()
            (Path(where) / "tokenizer.json").unlink()
            if kept:
                (Path(where) / "tokenizer.json").write_bytes(whole[:kept])
            raise KeyError("power")

        out = tmp_path / str(kept)
        with monkeypatch.context() as patched, pytest.raises(KeyError):
            patched.setattr(PreTrainedTokenizerFast, "save_pretrained", cut_short)
            run("pretrain", out, PRETRAIN, text=folder / "text")

        run("pretrain", out, PRETRAIN, resume=True, text=folder / "text")

        assert results(out) == pretrained


# --- any causal language model ---


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3"])
@pytest.mark.parametrize("tokens", ["ours", "foreign"])
def test_the_whole_chain_on_other_architectures_and_tokenizers(
    folder: Path, tmp_path: Path, architecture: str, tokens: str
) -> None:
    """A plain Hugging Face folder in, a policy out: SFT, sampling, reward model, PPO-ptx."""
    tokenizer = tiny_tokenizer(160) if tokens == "ours" else foreign_tokenizer()
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = tiny_model(architecture, vocabulary=len(tokenizer), context=160, **ids)
    save_model(model, tokenizer, tmp_path / "model")
    short = {"epochs": 1, "checkpoint_every": 100, "batch_size": 5}

    sft_inputs = {"demonstrations": folder / "demonstrations", "text": folder / "text"}
    run("sft", tmp_path / "sft", SFT | short, model=tmp_path / "model", **sft_inputs)
    run(
        "reward",
        tmp_path / "rm",
        REWARD | short,
        model=tmp_path / "sft",
        rankings=folder / "rankings",
        demonstrations=folder / "demonstrations",
    )
    run(
        "ppo",
        tmp_path / "ppo",
        PPO | {"episodes": 8},
        policy=tmp_path / "sft",
        reward_model=tmp_path / "rm",
        prompts=folder / "prompts",
        text=folder / "text",
    )

    first = metrics(tmp_path / "ppo")[0]
    assert abs(first["kl_reference"]) < 1e-4
    policy = AutoModelForCausalLM.from_pretrained(tmp_path / "ppo" / "artifact")
    assert policy.config.model_type == architecture


def test_the_papers_values_are_the_defaults() -> None:
    paper = SFTConfig()

    assert (paper.epochs, paper.residual_dropout, paper.batch_size) == (16, 0.2, 32)
    assert (paper.optimizer.learning_rate, paper.optimizer.final_share) == (9.65e-6, 0.1)
    assert (paper.optimizer.beta1, paper.optimizer.beta2, paper.optimizer.warmup_steps) == (
        0.9,
        0.95,
        0,
    )
    assert paper.optimizer.schedule == "cosine"


def test_the_lexicon_counts_the_train_side_or_a_spread_of_it(folder: Path, tmp_path: Path) -> None:
    def passages(name: str, **config: int) -> int:
        artifact = run("lexicon", tmp_path / name, config, text=folder / "text")
        return artifact.facts["passages"]

    texts = len(read_records(folder / "text" / "train.jsonl.gz", Text))
    each = passages("all") / texts

    assert passages("some", max_texts=3) == each * len(range(0, texts, -(-texts // 3)))
    assert passages("more", max_texts=10 * texts) == each * texts

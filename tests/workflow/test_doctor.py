"""The doctor: a healthy run passes, each sickness is named with its cause and its cure, and nothing is changed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from alignloop.errors import ConfigError
from alignloop.generation.decoder import TransformersDecoder
from alignloop.generation.llama import LlamaDecoder
from alignloop.generation.native import NativeEngine
from alignloop.models import compilation
from alignloop.models import policy as policy_module
from alignloop.models.loading import load_tokenizer, save_model
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import gradients, learner
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.ppo.config import PPOConfig
from alignloop.workflow.doctor import examine as examining
from alignloop.workflow.doctor import patient
from alignloop.workflow.doctor.examine import examine
from alignloop.workflow.doctor.findings import Finding
from alignloop.workflow.stages import run_stage
from tests.helpers import (
    ARCHITECTURES,
    PPO,
    REWARD,
    _write,
    contents,
    foreign_tokenizer,
    prompt,
    results,
    run,
    tiny_model,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_ppo_inputs,
    write_prompts,
    write_rankings,
    write_text,
)

LORA: dict[str, Any] = {"adapters": {"kind": "lora", "rank": 4, "alpha": 8.0}}
SAMPLER = "the sampler's log-probabilities are the trainer's"
LEARNING = "a learning rate of 0 leaves the ratio at 1"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A policy, a reward model, prompts and text."""
    return write_ppo_inputs(tmp_path_factory.mktemp("given"))


def config(**changes: Any) -> PPOConfig:
    return PPOConfig.model_validate(PPO | {"sampling": {"max_new_tokens": 24}} | changes)


def findings(
    given: dict[str, Path], changes: dict[str, Any] | None = None, **inputs: Any
) -> dict[str, Finding]:
    found = examine(config(**(changes or {})), **{**given, **inputs})
    return {finding.check: finding for finding in found}


def bad(found: dict[str, Finding]) -> dict[str, str]:
    return {finding.check: finding.detail for finding in found.values() if finding.verdict == "BAD"}


# --- the healthy ---


@pytest.mark.parametrize("changes", [{}, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_healthy_run_passes_every_check(
    tmp_path: Path, architecture: str, changes: dict[str, Any]
) -> None:
    model = write_model(tmp_path / "model", architecture)
    demonstrations = write_demonstrations(tmp_path / "demos")
    run(
        "reward",
        tmp_path / "reward",
        REWARD | changes,
        model=model,
        rankings=write_rankings(tmp_path / "rankings"),
        demonstrations=demonstrations,
    )

    found = findings(
        {"policy": model, "prompts": write_prompts(tmp_path / "prompts", 16)},
        changes,
        reward_model=tmp_path / "reward",
        demonstrations=demonstrations,
        text=write_text(tmp_path / "text"),
    )

    assert not bad(found)
    assert {"demonstrations score 0 on average", "the score is read at EOS", LEARNING} <= set(found)
    assert "apply_chat_template" in next(f.check for f in found.values() if f.verdict == "look")


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bfloat16", "rollout_precision": "bfloat16"},
        {"value_network": "shared"},
        {"kl_estimator": "exact", "whiten_advantages": "batch"},
        {"adaptive_kl": {"target": 6.0}, "kl_stop": 0.01, "inner_epochs": 3},
        {"sampling": {"max_new_tokens": 24, "temperature": 0.7}},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_healthy_run_passes_with_other_settings(
    given: dict[str, Path], changes: dict[str, Any]
) -> None:
    assert not bad(findings(given, changes))


def test_a_single_prompt_is_examined_as_well(given: dict[str, Path], tmp_path: Path) -> None:
    assert not bad(findings(given, prompts=write_prompts(tmp_path / "one", count=1)))


def test_a_python_function_is_asked_like_a_reward_model(
    given: dict[str, Path], tmp_path: Path
) -> None:
    plug_in = tmp_path / "mine.py"
    plug_in.write_text("def length(prompts, texts):\n    return [float(len(t)) for t in texts]\n")

    found = findings(given, reward_function=f"{plug_in}:length")

    assert not bad(found)
    assert found["scores differ from answer to answer"].verdict == "ok"


def test_a_person_is_not_asked(given: dict[str, Path]) -> None:
    found = findings(given, ask_person=True)

    assert not bad(found)
    assert "scores differ from answer to answer" not in found


def test_a_heldout_reward_model_is_examined_with_the_others(
    given: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = foreign_tokenizer()
    save_model(tiny_model(vocabulary=len(tokenizer)), tokenizer, tmp_path / "policy")
    scorer = ScalarModel.load(tmp_path / "policy").model
    save_model(scorer, tokenizer, tmp_path / "foreign")

    def shorten(model: Any) -> None:
        model.config.max_position_embeddings = 30

    short = scorer_with(given, tmp_path / "short", shorten)

    assert not bad(findings(given, heldout_reward_model=given["reward_model"]))
    said = bad(findings(given, heldout_reward_model=tmp_path / "foreign"))
    assert "take models that" in said["all models read the policy's tokens"]
    said = bad(findings(given, heldout_reward_model=short))
    assert "context of 30: lower sampling.max" in said["prompts and answers fit the context"]


def test_it_computes_where_the_run_will_and_compiles_nothing(
    given: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(examining, "take_device", lambda: order.append("device"))
    opened = patient.open_learner
    monkeypatch.setattr(
        patient, "open_learner", lambda *given: (order.append("models"), opened(*given))[1]
    )
    monkeypatch.setattr(compilation, "compile_layers", None)

    assert not bad(findings(given, {"compile": True}))
    assert order == ["device", "models"]


def test_before_a_run_it_says_what_to_look_at_and_of_several_ranks_the_first_looks_at_inputs(
    given: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    examining.before_ppo(config(), **given)
    alone = capsys.readouterr().err
    assert re.search(r"doctor: \d+ checks passed, 2 to look at", alone)
    assert re.search(r"look +apply_chat_template", alone)
    assert "initial weights" in alone

    monkeypatch.setattr(patient, "open_learner", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (("0", "checks passed"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        examining.before_ppo(config(), **given)
        assert said in capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    rows = [prompt(0, source="labeler_plain")]
    _write(tmp_path / "prompts", "prompts", {"rl": rows})
    with pytest.raises(ConfigError, match="labeler"):
        examining.before_ppo(config(), **given | {"prompts": tmp_path / "prompts"})


def test_it_changes_neither_files_nor_the_random_state(given: dict[str, Path]) -> None:
    folders = list(given.values())
    before, state = [contents(f) for f in folders], torch.get_rng_state()

    findings(given, {"value_start": "policy"})

    assert [contents(f) for f in folders] == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_that_was_examined_leaves_the_same_bytes(
    given: dict[str, Path], tmp_path: Path
) -> None:
    short = config(episodes=8)
    for name, doctor in (("with", True), ("without", False)):
        run_stage("ppo", tmp_path / name, short, resume=False, doctor=doctor, **given)

    assert results(tmp_path / "with") == results(tmp_path / "without")


# --- each sickness ---


def test_a_sampler_that_forgets_the_temperature(
    given: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = NativeEngine.generate

    def forgetful(self: NativeEngine, prompts: Any, seeds: Any, sampling: Any) -> Any:
        return honest(self, prompts, seeds, sampling.model_copy(update={"temperature": 1.0}))

    monkeypatch.setattr(NativeEngine, "generate", forgetful)
    for arithmetic in ("float32", "bfloat16"):
        cold = {"sampling": {"max_new_tokens": 24, "temperature": 0.5}, "precision": arithmetic}
        assert SAMPLER in bad(findings(given, cold))


@pytest.mark.parametrize(
    "decoder", [TransformersDecoder, LlamaDecoder], ids=["transformers", "llama"]
)
def test_a_decoder_that_reads_another_token(
    given: dict[str, Path], monkeypatch: pytest.MonkeyPatch, decoder: Any
) -> None:
    honest = decoder.step
    monkeypatch.setattr(decoder, "step", lambda self, tokens: honest(self, tokens * 0))

    assert "decoding token by token gives the same" in bad(findings(given))


def seen_through(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Any], Any]) -> None:
    """Let every hidden state be changed on its way to the log-probabilities."""
    honest = policy_module.hidden_states
    monkeypatch.setattr(
        policy_module, "hidden_states", lambda model, batch: change(honest(model, batch), batch)
    )


def test_a_model_that_sees_padding(given: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen_through(monkeypatch, lambda hidden, batch: hidden * (1 + 0.01 * batch.tokens.shape[1]))

    assert "padding changes nothing" in bad(findings(given))


def test_a_model_whose_rows_see_one_another(
    given: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_through(monkeypatch, lambda hidden, _: hidden + hidden.mean(dim=0, keepdim=True))

    assert "micro-batches change nothing" in bad(findings(given))


def test_a_reference_that_is_another_model(
    given: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = learner._policies

    def strange(*arguments: Any) -> Any:
        actor, reference = honest(*arguments)
        with torch.no_grad():
            reference.get_input_embeddings().weight.mul_(1.1)
        return actor, reference

    monkeypatch.setattr(learner, "_policies", strange)

    assert "the reference is the policy (KL 0)" in bad(findings(given))


def test_an_update_that_computes_log_probabilities_in_another_way(
    given: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = gradients.log_probs_of
    monkeypatch.setattr(gradients, "log_probs_of", lambda *a: honest(*a[:-1], 1.0))

    found = bad(findings(given, {"sampling": {"max_new_tokens": 24, "temperature": 0.5}}))

    assert list(found) == [LEARNING]


def write_endless(folder: Path) -> Path:
    """A GPT-2 that never writes EOS: one channel is constant, and EOS alone reads it, as a huge minus."""
    model: Any = tiny_model("gpt2")
    with torch.no_grad():
        model.transformer.ln_f.weight[0], model.transformer.ln_f.bias[0] = 0.0, 10.0
        model.transformer.wte.weight[:, 0] = 0.0
        model.transformer.wte.weight[model.config.eos_token_id, 0] = -5.0
    save_model(model, tiny_tokenizer(), folder)
    return folder


def test_a_policy_that_never_ends(given: dict[str, Path], tmp_path: Path) -> None:
    found = bad(findings(given, {}, policy=write_endless(tmp_path / "endless")))

    assert list(found) == ["answers can end"]
    assert "0 of 6 ended within 24 tokens" in found["answers can end"]
    assert "alignloop sft" in found["answers can end"]


def scorer_with(given: dict[str, Path], folder: Path, change: Callable[[Any], None]) -> Path:
    """The reward model, changed."""
    artifact = given["reward_model"] / "artifact"
    model = AutoModelForSequenceClassification.from_pretrained(artifact)
    with torch.no_grad():
        change(model)
    save_model(model, load_tokenizer(artifact), folder)
    return folder


def test_a_reward_model_that_gives_all_answers_the_same(
    given: dict[str, Path], tmp_path: Path
) -> None:
    constant = scorer_with(given, tmp_path / "constant", lambda model: model.score.weight.zero_())

    found = bad(findings(given, reward_model=constant))

    assert set(found) == {"scores differ from answer to answer", "the score is read at EOS"}
    assert "head" in found["scores differ from answer to answer"]


def test_a_reward_model_of_another_vocabulary(given: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = foreign_tokenizer()
    save_model(tiny_model(vocabulary=len(tokenizer)), tokenizer, tmp_path / "foreign")

    found = bad(findings(given, policy=tmp_path / "foreign"))

    assert "another tokenizer" in found["all models read the policy's tokens"]


def test_a_reward_model_whose_zero_is_elsewhere_and_the_advice_that_mends_it(
    given: dict[str, Path], tmp_path: Path
) -> None:
    check, demos = "demonstrations score 0 on average", given["policy"].parent / "demos"

    def shift(model: Any) -> None:
        model.config.reward_bias += 2.0

    shifted = scorer_with(given, tmp_path / "shifted", shift)
    said = bad(findings(given, reward_model=shifted, demonstrations=demos))[check]
    assert said.startswith("mean +2.0")

    advised = float(said.split("set reward_bias to ")[1].split(" ")[0])
    settings = json.loads((shifted / "config.json").read_text())
    (shifted / "config.json").write_text(json.dumps(settings | {"reward_bias": advised}))
    assert not bad(findings(given, reward_model=shifted, demonstrations=demos))


def test_prompts_that_leave_no_room(given: dict[str, Path]) -> None:
    found = bad(findings(given, {"sampling": {"max_new_tokens": 95}}))

    assert "does not fit the context of 96" in found["prompts and answers fit the context"]


def test_prompts_that_labelers_wrote(given: dict[str, Path], tmp_path: Path) -> None:
    rows = [prompt(i, source="labeler_plain") for i in range(4)]
    _write(tmp_path / "prompts", "prompts", {"rl": rows})

    found = bad(findings(given, prompts=tmp_path / "prompts"))

    assert "allow_labeler_prompts" in found["prompts are customers'"]
    assert not bad(findings(given, {"allow_labeler_prompts": True}, prompts=tmp_path / "prompts"))


def test_prompts_that_an_earlier_stage_had_are_counted_and_left_out(
    given: dict[str, Path], tmp_path: Path
) -> None:
    many, few = write_prompts(tmp_path / "many", 12), write_prompts(tmp_path / "few", 3)

    found = findings(given, prompts=many, exclude_prompts_from=[few])

    assert found["prompts are new to the models"].detail.startswith("9 of 12 are; left out: 3 in")


def test_pretraining_gradients_without_text(given: dict[str, Path]) -> None:
    found = bad(findings(given, text=None))

    assert found == {
        "pretraining text is there": "ptx_coef = 0.5 and no --text; give it, or set ptx_coef = 0"
    }


def test_an_average_and_a_pretraining_gradient_that_drown_the_rest_are_worth_a_look(
    given: dict[str, Path],
) -> None:
    found = findings(given, {"ema_decay": 0.999, "ptx_coef": 1e6})

    assert found["the average forgets the start"].verdict == "look"
    assert "ema_decay = " in found["the average forgets the start"].detail
    assert found["both gradients count"].verdict == "look"
    assert "lower ptx_coef" in found["both gradients count"].detail


def test_a_chat_template_that_other_tools_would_read_otherwise(
    given: dict[str, Path], tmp_path: Path
) -> None:
    check = "apply_chat_template formats as we do"
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ 'Q: ' + (m['content'] | trim) + '\\nA: ' }}{% endfor %}"
    )
    save_model(tiny_model(), tokenizer, tmp_path / "trimming")
    rows = [prompt(i, text=f"Say {i}." + " " * (i % 2)) for i in range(6)]
    _write(tmp_path / "prompts", "prompts", {"rl": rows})

    found = findings(given, policy=tmp_path / "trimming", prompts=tmp_path / "prompts")

    assert not bad(found)
    assert found[check].verdict == "look"
    assert found[check].detail.startswith("3 of 6 prompts are the same tokens")


# --- a fixed score for answers that do not end ---


def test_a_fixed_score_that_would_pay(given: dict[str, Path]) -> None:
    found = bad(findings(given, {"missing_eos_score": 99.0}))

    assert "being cut off would pay" in found["never stopping is not rewarded"]


def test_a_fixed_score_is_refused_where_being_cut_off_would_pay() -> None:
    scores, ended = torch.tensor([-3.0, -2.0, 0.5, 9.0]), torch.tensor([True, True, True, False])
    assert rewards_never_stopping(scores, ended, -4.0) is None
    problem = rewards_never_stopping(scores, ended, -1.0)
    assert problem is not None
    assert "67 %" in problem
    assert "below -3.00" in problem
    assert rewards_never_stopping(scores, torch.zeros(4, dtype=torch.bool), -9.0) is not None


# --- the commands ---


def test_the_command_prints_a_line_per_check_and_fails_where_one_fails(
    given: dict[str, Path],
    tmp_path: Path,
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
    run_here: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    recipe = tmp_path / "ppo.json"
    recipe.write_text(config().as_json())
    inputs = ("--policy", given["policy"], "--reward-model", given["reward_model"])
    inputs += ("--prompts", given["prompts"], "--text", given["text"], "--config", recipe)

    well = run_here("doctor", *map(str, inputs))
    sick = run_cli("doctor", *map(str, inputs), "--set", "missing_eos_score=99")

    assert well.returncode == 0, well.stdout + well.stderr
    assert "ok   answers can end" in well.stdout
    assert sick.returncode == 1
    assert "\nBAD  never stopping is not rewarded" in sick.stdout


def test_ppo_begins_with_the_doctor_who_may_refuse_and_may_be_passed_over(
    given: dict[str, Path],
    tmp_path: Path,
    run_here: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    recipe = tmp_path / "ppo.json"
    recipe.write_text(config(episodes=4).as_json())
    endless = write_endless(tmp_path / "endless")
    inputs = ("--reward-model", given["reward_model"], "--prompts", given["prompts"])
    inputs += ("--text", given["text"], "--config", recipe)

    well = run_here(
        "ppo", "--policy", str(given["policy"]), *map(str, inputs), "--run", str(tmp_path / "well")
    )
    sick = ("ppo", "--policy", str(endless), *map(str, inputs), "--run", str(tmp_path / "sick"))
    refused = run_here(*sick)
    left = (tmp_path / "sick").exists()
    begun = run_here(*sick, "--no-doctor")

    assert well.returncode == 0, well.stderr
    assert "doctor: " in well.stderr
    assert "checks passed" in well.stderr
    assert refused.returncode == 2
    assert "the doctor advises against this run: answers can end" in refused.stderr
    assert not left
    assert begun.returncode == 0, begun.stderr
    assert "doctor" not in begun.stderr

"""Prompts that fit, greedy answers cut at a newline, log-probabilities of choices: against a plain forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from alignloop.data.formatter import Formatter, encode_plain
from alignloop.errors import DataError, NumericsError
from alignloop.evaluation.cache import AnswerCache
from alignloop.evaluation.suite import asking
from alignloop.evaluation.suite.asking import Policy, first_line, greedy, log_probs, whole_text
from alignloop.evaluation.suite.prompting import Prompter
from alignloop.evaluation.tasks.choice import HELLASWAG
from alignloop.evaluation.tasks.task import Item, Setting, Task
from alignloop.evaluation.tasks.writing import TLDR
from tests.helpers import ARCHITECTURES, SENTENCES, tiny_model, tiny_tokenizer, write_model

FORMATTER = Formatter.of(tiny_tokenizer())
NEWLINE = encode_plain(FORMATTER.tokenizer, "\n")[0]
WRITES = [Item(f"w{i}", f"{SENTENCES[i]} Then") for i in range(6)]
CHOOSES = [
    Item(f"c{i}", SENTENCES[i], choices=(SENTENCES[i + 1], SENTENCES[i + 2][:9], "yes"))
    for i in range(5)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "policy")


def by_argmax(model: PreTrainedModel, prompt: Sequence[int], longest: int) -> list[int]:
    """One whole forward pass per token."""
    tokens = list(prompt)
    for _ in range(longest):
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, -1]
        tokens.append(int(logits.argmax()))
        if tokens[-1] == FORMATTER.end or "\n" in FORMATTER.tokenizer.decode([tokens[-1]]):
            break
    return tokens[len(prompt) :]


# --- prompts ---


def plain(context: int = 96) -> Prompter:
    return Prompter(FORMATTER, "plain", context)


def chat(context: int = 96) -> Prompter:
    return Prompter(FORMATTER, "chat", context)


SETTING = Setting("2-shot", "Go.", shots=2)
EXAMPLES = [Item(str(i), f"Q{i}?\nA:", answer=f"a{i}") for i in range(3)]
QUERY = Item("q", "Q9?\nA:")


def test_plain_text_follows_the_end_token_and_chat_its_marks() -> None:
    expected = "Go.\n\nQ1?\nA: a1\n\nQ2?\nA: a2\n\nQ9?\nA:"
    text = encode_plain(FORMATTER.tokenizer, expected)

    asked = plain().prompt(SETTING, EXAMPLES, QUERY, "\n\n", 8)
    assert (asked.text, asked.shots, asked.is_cut) == (expected, 2, False)
    assert asked.tokens == [FORMATTER.end, *text]
    in_chat = chat().prompt(SETTING, EXAMPLES, QUERY, "\n\n", 8)
    assert in_chat.text == expected
    assert in_chat.tokens[1:-1] == text
    assert in_chat.tokens != asked.tokens


def test_choices_follow_with_a_space_in_plain_text_alone() -> None:
    item = Item("c", "A fox", choices=("ran", "sang"))

    def tokens(prompter: Prompter, text: str = "A fox") -> list[list[int]]:
        asked = prompter.prompt(Setting(""), (), Item("c", text), "\n\n", 8)
        return prompter.choices(asked, item)

    def encoded(*texts: str) -> list[list[int]]:
        return [encode_plain(FORMATTER.tokenizer, text) for text in texts]

    assert tokens(plain()) == encoded(" ran", " sang")
    assert tokens(plain(), "") == encoded("ran", "sang")
    assert tokens(chat()) == encoded("ran", "sang")


@pytest.mark.parametrize("make", [plain, chat])
def test_examples_go_first_and_then_the_beginning_of_the_query(make: type) -> None:
    whole = make().prompt(SETTING, EXAMPLES, QUERY, "\n\n", 8)

    fewer = make(len(whole.tokens) + 7).prompt(SETTING, EXAMPLES, QUERY, "\n\n", 8)
    assert fewer.text == "Go.\n\nQ2?\nA: a2\n\nQ9?\nA:"
    assert (fewer.shots, fewer.is_cut) == (1, False)

    long = Item("q", "The fox went out. " * 9 + "Q9?\nA:")
    cut = make(40).prompt(SETTING, EXAMPLES, long, "\n\n", 8)
    assert (cut.shots, cut.is_cut) == (0, True)
    assert len(cut.tokens) <= 32
    assert cut.text.startswith("Go.\n\n")
    assert cut.text.endswith(" out. Q9?\nA:")


def test_a_primer_is_dropped_like_examples() -> None:
    setting = Setting("QA", "Go.", ("Q: one?\nA: 1", "Q: two?\nA: 2"))
    whole = plain().prompt(setting, (), QUERY, "\n\n", 8)
    assert whole.shots == 2

    fewer = plain(len(whole.tokens) + 7).prompt(setting, (), QUERY, "\n\n", 8)

    assert fewer.text == "Go.\n\nQ: two?\nA: 2\n\nQ9?\nA:"


def test_what_cannot_fit_is_told() -> None:
    with pytest.raises(DataError, match=r"item 'q'.*answer of 30 tokens do not fit.*context of 32"):
        plain(32).prompt(SETTING, EXAMPLES, QUERY, "\n\n", 30)


# --- the model ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_answers_are_the_likeliest_tokens(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [
        plain().prompt(Setting(""), (), item, "\n\n", 14).tokens for item in [*WRITES, WRITES[0]]
    ]
    ended: list[int] = []

    found = greedy(model, prompts, 14, FORMATTER, 3, ended.append)

    assert found == [by_argmax(model, prompt, 14) for prompt in prompts]
    assert sum(ended) == len(prompts)
    assert len({len(one) for one in found}) > 1, "no answer ended before another"


def test_a_newline_ends_an_answer_and_is_not_in_it() -> None:
    model = tiny_model()
    prompts = [plain().prompt(Setting(""), (), item, "\n\n", 14).tokens for item in WRITES]
    with torch.no_grad():  # now the newline is likely everywhere
        weight = model.get_input_embeddings().weight
        weight[NEWLINE] = weight[FORMATTER.end] * 1.5

    found = greedy(model, prompts, 14, FORMATTER, 8)

    assert found == [by_argmax(model, prompt, 14) for prompt in prompts]
    assert any(NEWLINE in one for one in found)
    for tokens in found:
        assert NEWLINE not in tokens[:-1]
        assert "\n" not in first_line(FORMATTER, tokens)


def test_a_whole_answer_goes_on_after_a_newline() -> None:
    model = tiny_model()
    prompts = [plain().prompt(Setting(""), (), item, "\n\n", 14).tokens for item in WRITES]
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight[NEWLINE] = weight[FORMATTER.end] * 1.5

    cut = greedy(model, prompts, 14, FORMATTER, 8)
    whole = greedy(model, prompts, 14, FORMATTER, 8, whole=True)

    assert any(len(one) > len(short) for one, short in zip(whole, cut, strict=True))
    for one, short in zip(whole, cut, strict=True):
        assert one[: len(short)] == short
        assert FORMATTER.end not in one[:-1]
        assert len(one) == 14 or one[-1] == FORMATTER.end


def test_a_whole_text_keeps_its_newlines() -> None:
    tokens = [*encode_plain(FORMATTER.tokenizer, "\n the fox\nand more "), FORMATTER.end]

    assert whole_text(FORMATTER, tokens) == "the fox\nand more"


def test_a_task_of_whole_answers_is_kept_apart_in_the_cache(folder: Path, tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    policy = Policy("p", folder, "0" * 64, "plain", cache, 4)
    task = Task("t", "T", lambda _: [], (), longest=8)

    policy.answers(task, Setting(""), (), WRITES)
    short = len(list(tmp_path.rglob("*.json")))
    policy.answers(replace(task, whole=True), Setting(""), (), WRITES)

    assert len(list(tmp_path.rglob("*.json"))) == 2 * short == 2 * len(WRITES)


def test_a_first_line_has_no_end_token_and_no_outer_space() -> None:
    def encoded(text: str) -> list[int]:
        return encode_plain(FORMATTER.tokenizer, text)

    assert first_line(FORMATTER, [*encoded("  the fox "), FORMATTER.end]) == "the fox"
    assert first_line(FORMATTER, encoded(" the fox\nand more")) == "the fox"
    assert first_line(FORMATTER, encoded("\nthe fox")) == ""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_are_those_of_a_plain_pass(architecture: str) -> None:
    model = tiny_model(architecture)
    prompter = plain()
    asked = [prompter.prompt(Setting(""), (), item, "\n\n", 24) for item in CHOOSES]
    choices = [prompter.choices(a, item) for a, item in zip(asked, CHOOSES, strict=True)]

    found = log_probs(model, [a.tokens for a in asked], choices)

    for one, group, totals in zip(asked, choices, found, strict=True):
        for choice, total in zip(group, totals, strict=True):
            tokens = [*one.tokens, *choice]
            with torch.no_grad():
                every = model(torch.tensor([tokens])).logits[0].double().log_softmax(dim=-1)
            by_hand = sum(
                float(every[at - 1, tokens[at]]) for at in range(len(one.tokens), len(tokens))
            )
            assert total == pytest.approx(by_hand, abs=1e-4)


def test_numbers_that_are_none_are_told() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[NEWLINE] = float("nan")

    with pytest.raises(NumericsError, match="not finite"):
        greedy(model, [[1, 5, 6]], 4, FORMATTER, 4)


# --- the cache ---


class Counted:
    """Calls of the functions that make a model work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prompts = 0
        for name in ("greedy", "log_probs"):
            self._count(monkeypatch, name)

    def _count(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(asking, name)

        def counting(
            model: PreTrainedModel, prompts: Sequence[Sequence[int]], *rest: object, **named: object
        ):
            self.prompts += len(prompts)
            return real(model, prompts, *rest, **named)

        monkeypatch.setattr(asking, name, counting)


@pytest.mark.parametrize(("task", "items"), [(TLDR, WRITES), (HELLASWAG, CHOOSES)])
def test_nothing_is_asked_twice(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: Task,
    items: list[Item],
) -> None:
    task = Task(task.name, task.title, task.read, task.metrics, longest=8)
    cache, setting, counted = AnswerCache(tmp_path), Setting(""), Counted(monkeypatch)

    def ask(some: list[Item], sha256: str = "a" * 64, form: str = "plain"):
        policy = Policy("tiny", folder, sha256, form, cache, 4)
        return policy.answers(task, setting, (), some)

    first = ask(items[:3])
    assert counted.prompts == 3
    assert ask(items[:3]) == first
    assert counted.prompts == 3
    # a repeated item is drawn once, a new one once more
    more = ask([*items, items[0]])
    assert more[:3] == first
    assert more[-1] == first[0]
    assert counted.prompts == len(items)
    ask(items[:1], sha256="b" * 64)
    ask(items[:1], form="chat")
    assert counted.prompts == len(items) + 2

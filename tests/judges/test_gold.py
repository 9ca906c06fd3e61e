"""Gold: a product of stakes, order of known kinds, and no reward for cheap tricks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from alignloop.data import text as prose
from alignloop.data.constraints import Constraint, is_satisfied
from alignloop.data.records import Demonstration, Prompt
from alignloop.judges.adversarial import TRICKS, earns_its_name
from alignloop.judges.criteria import CRITERIA
from alignloop.judges.gold import GOLD_VERSION, POPULATION_STAKES, Gold
from alignloop.judges.labelers import HELD_OUT_TASTES, TRAINING_TASTES
from alignloop.judges.lexicon import Lexicon
from alignloop.judges.taste import Taste
from tests.judges.known_kinds import KindRanking, ranking_accuracy


@pytest.fixture(scope="session")
def gold(lexicon: Lexicon) -> Gold:
    return Gold(lexicon)


def test_a_taste_multiplies_what_is_left_by_each_criterion(
    lexicon: Lexicon, prompt: Prompt
) -> None:
    taste = Taste(
        {"a": lambda *_: 1.0, "b": lambda *_: 0.5, "c": lambda *_: 0.0},
        {"a": 0.9, "b": 0.4, "c": 0.75},
    )

    assert taste.utility(prompt, "", lexicon) == pytest.approx(1.0 * 0.8 * 0.25)


@pytest.mark.parametrize("stakes", [{"no_such": 0.5}, {"is_gentle": 1.0}, {"is_gentle": -0.1}])
def test_a_taste_that_cannot_be_is_refused(stakes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"criteria|stake"):
        Taste(CRITERIA, stakes)


def test_the_population_has_something_at_stake_with_every_criterion() -> None:
    assert set(POPULATION_STAKES) == set(CRITERIA)
    assert all(0 < stake < 1 for stake in POPULATION_STAKES.values())


def test_gold_prefers_the_better_text_whichever_comes_first(gold: Gold, prompt: Prompt) -> None:
    good = "The wolf growled, but the dog wagged his tail and offered him a bone."
    bad = "the the the dog dog bone"

    assert gold.prefer(prompt, good, bad) == 1
    assert gold.prefer(prompt, bad, good) == 0
    assert gold.prefer(prompt, good, good) == 0.5


def test_gold_is_the_product_of_what_the_criteria_leave(gold: Gold, prompt: Prompt) -> None:
    text = "The wolf growled, but the dog wagged his tail and offered him a bone."

    values = {name: criterion(prompt, text, gold.lexicon) for name, criterion in CRITERIA.items()}
    assert set(POPULATION_STAKES) == set(values)
    expected = math.prod(
        1 - stake * (1 - values[name]) for name, stake in POPULATION_STAKES.items()
    )
    assert gold.utility(prompt, text) == pytest.approx(expected)


def test_an_empty_text_is_worth_next_to_nothing(gold: Gold, prompt: Prompt) -> None:
    assert 0 < gold.utility(prompt, "") < 1e-4


def test_kinds_are_counted_by_pair_without_ties() -> None:
    ranking = KindRanking(
        prompt=Prompt(id="p", text="Go on."),
        texts=("aaa", "bb", "c", "dd"),
        ranks=(0, 1, 2, 2),
        kinds=("human", "other_story", "shuffled_words", "shuffled_words"),
    )

    found = ranking_accuracy(lambda _, text: len(text), [ranking])

    assert found == {
        ("human", "other_story"): (1, 1),
        ("human", "shuffled_words"): (2, 2),
        ("other_story", "shuffled_words"): (1, 2),  # a draw is not the right order
    }


@pytest.mark.parametrize(
    "text",
    ["What next?\n\nShe “ran”.", "Continue the story: She “ran”."],
    ids=["blank line", "inline"],
)
def test_a_row_is_parted_into_instruction_and_context(text: str) -> None:
    row = {
        "id": "rk-Some Book#12",
        "source": "s",
        "prompt": text,
        "candidates": ["a", "b"],
        "rank": [1, 0],
        "kind": ["repetition", "human"],
    }

    ranking = KindRanking.from_row(row)

    assert ranking.prompt.context == 'She "ran".'
    assert ranking.prompt.text.endswith('\n\nShe "ran".')
    assert ranking.prompt.group == "Some Book"
    assert ranking.texts == ("a", "b")


def test_gold_ranks_human_other_repeated_and_shuffled_right(
    gold: Gold, tasks: list[Demonstration], other_story: list[str]
) -> None:
    generator = np.random.default_rng(3)
    rankings = [
        KindRanking(
            prompt=task.prompt.model_copy(update={"constraints": ()}),
            texts=(
                task.response,
                other,
                " ".join([prose.sentences(task.response)[0]] * 3),
                " ".join(generator.permutation(task.response.split())),
            ),
            ranks=(0, 1, 2, 3),
            kinds=("human", "other_story", "repetition", "shuffled_words"),
        )
        for task, other in zip(tasks, other_story, strict=True)
        if task.prompt.use_case == "continue"
    ]

    found = ranking_accuracy(gold.utility, rankings)
    by_length = ranking_accuracy(lambda _, text: len(text), rankings)

    shares = {pair: right / total for pair, (right, total) in found.items()}
    assert shares["human", "other_story"] > 0.62
    assert min(shares["human", "repetition"], shares["human", "shuffled_words"]) > 0.95
    assert sum(right for right, _ in found.values()) > 0.87 * sum(
        total for _, total in found.values()
    )
    assert sum(r for r, _ in by_length.values()) < 0.6 * sum(
        total for _, total in by_length.values()
    )


def test_no_trick_beats_even_text_that_belongs_to_another_story(
    gold: Gold, tasks: list[Demonstration], other_story: list[str]
) -> None:
    report = earns_its_name(gold.utility, [task.prompt for task in tasks], other_story)

    assert set(report) == set(TRICKS)
    assert not [name for name, result in report.items() if not result.fails]


def test_most_tricks_lose_to_nearly_every_human_answer(
    gold: Gold, tasks: list[Demonstration]
) -> None:
    report = earns_its_name(
        gold.utility, [task.prompt for task in tasks], [task.response for task in tasks]
    )

    plain = (
        "empty",
        "name_list",
        "copied_prompt",
        "word_salad",
        "one_sentence",
        "same_sentence_again",
    )
    assert all(
        report[name].below > 0.93 for name in (*plain, "bare_constraints", "half_copied_prompt")
    )
    assert all(result.below > 0.75 for result in report.values())


def test_a_fooled_utility_does_not_earn_the_name(tasks: list[Demonstration]) -> None:
    prompts, samples = [task.prompt for task in tasks], [task.response for task in tasks]

    report = earns_its_name(lambda _, text: len(text), prompts, samples)

    assert not report["long_winded"].fails
    assert report["empty"].fails


def test_one_sample_per_prompt_is_needed(gold: Gold, prompt: Prompt) -> None:
    with pytest.raises(ValueError, match="one sample per prompt"):
        earns_its_name(gold.utility, [prompt], [])


def test_tricks_that_say_so_satisfy_the_constraints() -> None:
    asked = Prompt(
        id="p",
        text="Go on.",
        context="The fox met Tom in the wood.",
        constraints=(
            Constraint(kind="sentences", value="3"),
            Constraint(kind="mentions", value="fox"),
            Constraint(kind="last_word", value="river"),
            Constraint(kind="speech"),
        ),
    )

    for name in ("bare_constraints", "filled_template"):
        text = TRICKS[name](asked)
        assert [c.kind for c in asked.constraints if not is_satisfied(c, text)] == [], text


def test_halving_an_answer_does_not_pay(gold: Gold, tasks: list[Demonstration]) -> None:
    long = [task for task in tasks if len(prose.words(task.response)) >= 24]

    halves = [
        " ".join(task.response.split()[: len(task.response.split()) // 2]) + "." for task in long
    ]

    lost = [
        gold.prefer(task.prompt, task.response, half)
        for task, half in zip(long, halves, strict=True)
    ]
    assert np.mean(lost) > 0.7


def test_padding_an_answer_does_not_pay(gold: Gold, tasks: list[Demonstration]) -> None:
    padding = "They were all very happy and went home together."

    kept = [
        gold.prefer(task.prompt, task.response, f"{task.response} {padding}")
        for task in tasks
        if len(prose.words(task.response)) >= 18
    ]

    assert np.mean(kept) > 0.6


def test_gold_is_what_its_version_says(gold: Gold, prompt: Prompt) -> None:
    """Figures of gold are compared over time: where these change, GOLD_VERSION must."""
    texts = (
        "The wolf growled, but the dog wagged his tail and offered him a bone.",
        "They were all very happy and went home together.",
        "Slowly, a bone old the miller dog gave quietly wolf barking.",
    )

    assert GOLD_VERSION == "gold-2"
    found = [gold.utility(prompt, text) for text in texts]
    assert found == pytest.approx([0.5153597222222223, 0.0192075, 0.009790625], rel=1e-9)


def test_the_page_shows_the_stakes_that_the_code_has() -> None:
    page = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    columns = (
        "follows_instruction reads_fluently stays_on_subject keeps_characters keeps_voice "
        "does_not_copy does_not_repeat is_gentle ends_properly has_substance"
    ).split()

    for name, own in {"gold": {}, **TRAINING_TASTES, **HELD_OUT_TASTES}.items():
        rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
        (cells,) = [
            [cell.strip(" *") for cell in row[1:]]
            for row in rows
            if row[0].strip(" *") == name and len(row) == 1 + len(columns)
        ]
        shown = {c: float(cell) for c, cell in zip(columns, cells, strict=True) if cell}
        expected = {criterion: stake for criterion, stake in own.items() if criterion in columns}
        assert shown == (expected or dict(POPULATION_STAKES))

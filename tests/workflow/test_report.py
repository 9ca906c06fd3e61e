"""The demo's report: one file that needs nothing else, says who judged, and shows what it was given."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from alignloop.workflow.report import data as report_data
from alignloop.workflow.report import page, plots, views
from alignloop.workflow.report.data import ReportData

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
TROUBLE = "</p><script>alert('x')</script>&<b>"
MODELS = ("base", "sft", "rl_init", "sft_more", "best_of_n", "ppo", "ppo_ptx")


def interval(mean: float, n: int = 300) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.04, "high": mean + 0.05, "n": n}


def by_judge(mean: float) -> dict[str, Any]:
    return {
        "gold": interval(mean + 0.02),
        "heldout_labelers": interval(mean),
        "outside_judge": interval(mean - 0.05),
    }


def full_results() -> dict[str, Any]:
    accuracy = {
        "train_labelers": 0.71,
        "heldout_labelers": 0.69,
        "gold": 0.76,
        "ceiling": 0.8,
        "longer_wins": 0.55,
        "bag_of_words": 0.6,
    }
    path = [
        {"iteration": i, "kl_reference": 0.1 * i, "score": 0.02 * i, "gold": 0.3 + 0.001 * i}
        for i in range(60)
    ]
    bits = {"model": 1.47, "five_gram": 2.04, "gzip": 2.61}
    return {
        "schema": 1,
        "seed": 1,
        "smoke": False,
        "version": "0.1.0",
        "counts": {
            "titles": {"train": 1912, "valid": 104, "test": 121},
            "demonstrations": 3050,
            "dropped_long_prompts": 611,
            "ranked_prompts": 640,
            "completions": 4160,
            "comparisons": 11870,
            "ties": 402,
            "dropped_prompts": 3,
            "rl_prompts": 2560,
            "episodes": 2561,
            "updates": 160,
            "test_prompts": 300,
        },
        "labelers": {
            "agreement": 0.73,
            "agreement_with_ties": 0.61,
            "pairs": 5120,
            "train": ["Ada", "Ben"],
            "heldout": ["Farah", "Goro"],
        },
        "sft": {"epochs": [{"epoch": 1, "valid_loss": 3.4, "rm_score": -0.3}], "chosen": 1},
        "rm": {
            "pair_accuracy": accuracy,
            "pair_accuracy_length_matched": accuracy,
            "calibration": [
                {"predicted": 0.55, "observed": 0.54, "pairs": 900},
                {"predicted": 0.95, "observed": 0.0, "pairs": 0},
                {"predicted": 0.85, "observed": 0.8, "pairs": 90},
            ],
            "bias": 0.417,
        },
        "win_rate": {model: by_judge(0.7) for model in MODELS if model != "sft"},
        "win_rate_length_matched": {"ppo": by_judge(0.6), "ppo_ptx": by_judge(0.6)},
        "win_rate_against": {"rl_init": {"ppo_ptx": by_judge(0.7)}, "sft_more": {}},
        "criteria": {
            "ppo": {"follows_instruction": interval(0.6)},
            "ppo_ptx": {"follows_instruction": interval(0.61), "is_gentle": interval(0.5)},
        },
        "gold_utility": dict.fromkeys(MODELS, 0.3),
        "pretrain_loss": {"base": 3.1, "sft": 3.3, "rl_init": 3.2, "ppo": 3.4, "ppo_ptx": 3.21},
        "alignment_tax": {"sft": interval(0.1), "ppo": interval(0.2), "ppo_ptx": interval(0.01)},
        "kl": {model: {"reference": 1.0, "sft": 2.0} for model in MODELS},
        "eos_rate": dict.fromkeys(MODELS, 0.95),
        "length": dict.fromkeys(MODELS, 41.2),
        "distinct": {model: {"1": 0.1, "2": 0.5} for model in MODELS},
        "gold_against_kl": {"ppo": path, "ppo_ptx": path},
        "bits_per_byte": {**bits, "by_source": {"childrens_books": bits}},
        "targets": [
            {"name": "Wins", "wanted": "at least 65 %", "measured": "70.0 %", "met": True},
            {"name": "Time", "wanted": "18 min", "measured": "19 min", "met": False},
        ],
    }


def full_metrics() -> dict[str, list[dict[str, Any]]]:
    steps = range(1, 61)
    supervised = [
        {"step": i, "epoch": i / 30, "loss": 4.0 - 0.01 * i, "pretraining_loss": 3.2}
        | ({"valid_loss": 3.5} if i % 20 == 0 else {})
        for i in steps
    ]
    reward = [{"step": i, "pair_accuracy": 0.6} for i in steps]
    ppo = [
        {
            "step": i,
            "score_mean": 0.02 * i,
            "kl_reference": 0.1 * i,
            "response_tokens": 40.0,
            "eos_rate": 0.97,
            "entropy": 2.0,
            "value_explained": 0.4,
        }
        for i in steps
    ]
    ptx = [
        {**row, "pretraining_loss": 3.2, "ppo_gradient_norm": 1.0, "gradient_cosine": -0.1}
        for row in ppo
    ]
    return {
        "sft": supervised,
        "rl_init": supervised,
        "sft_more": supervised,
        "reward": reward,
        "ppo": ppo,
        "ppo_ptx": ptx,
    }


def sample(text: str = "The fox ran home again.") -> dict[str, Any]:
    answer = {"text": text, "finished": True, "gold": 0.5, "satisfied": [True, False]}
    return {
        "prompt": f"Continue this story. {text}",
        "constraints": ["Use exactly one sentence", f"Keep {text}"],
        "human": f"Once more: {text}",
        "responses": {"sft": {**answer, "finished": False}, "ppo": answer, "ppo_ptx": answer},
        "gold_winner": "ppo_ptx",
    }


def full_data(**changes: Any) -> ReportData:
    given = {
        "results": full_results(),
        "metrics": full_metrics(),
        "samples": [sample() for _ in range(10)],
        "timings": {"sft": 208.4, "ppo_ptx": 3725.0},
        "budget": {"sft": 130.0},
    }
    return ReportData(**(given | changes))


MINIMAL = ReportData({"schema": 1, "seed": 1, "smoke": True, "version": "0.1.0"}, {}, [], {})


class Page(HTMLParser):
    """Reads a page: its text, tags and attributes; complains of tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]

    @property
    def text(self) -> str:
        """What is seen or read aloud, with single spaces, none of them unbreakable."""
        return " ".join(" ".join([*self.words, *self.values("aria-label")]).split())


@pytest.fixture(scope="module")
def full_html() -> str:
    return page.render(full_data())


def sections_of(html: str) -> set[str]:
    return set(re.findall(r'<section id="(\w+)">', html))


def test_a_full_report_has_every_section_and_lists_it(full_html: str) -> None:
    assert sections_of(full_html) == set(page.SECTIONS)
    assert {f"#{key}" for key in page.SECTIONS} <= set(Page(full_html).values("href"))


def test_a_minimal_report_has_the_steps_the_words_and_what_to_do_next() -> None:
    html = page.render(MINIMAL)

    Page(html)
    assert sections_of(html) == {"steps", "words", "next"}
    assert sections_of(page.render(ReportData({}, {}, [], {}))) == {"steps", "words", "next"}


SECTION_OF = {
    "targets": "targets",
    "win_rate": "wins",
    "win_rate_length_matched": "wins",
    "win_rate_against": "wins",
    "criteria": "wins",
    "sft": "curves",
    "gold_against_kl": "path",
    "alignment_tax": "tax",
    "pretrain_loss": "tax",
    "rm": "reward",
    "labelers": "labelers",
    "bits_per_byte": "base",
    "gold_utility": "models",
    "distinct": "models",
}


@pytest.mark.parametrize("key", full_results())
def test_any_key_of_the_report_may_be_the_one_that_is_there(key: str) -> None:
    html = page.render(ReportData({key: full_results()[key]}, {}, [], {}))

    Page(html)
    shown = {SECTION_OF[key]} if key in SECTION_OF else set()
    assert shown <= sections_of(html) <= {"steps", "words", "next", "models"} | shown


def test_parts_of_a_key_may_be_absent() -> None:
    rates = {"base": {"gold": interval(0.1)}, "ppo": {"new_judge": interval(0.6)}, "mine": {}}
    results = {
        "counts": {"titles": {"train": 10}, "updates": 3},
        "labelers": {"pairs": 4},
        "sft": {"epochs": [{"epoch": 1}]},
        "rm": {"pair_accuracy": {"gold": 0.7}},
        "win_rate": rates,
        "win_rate_length_matched": {
            "ppo": {"gold": None, "heldout_labelers": interval(0.5) | {"band": 1.25}}
        },
        "base_template": None,
        "criteria": {"ppo": {}},
        "pretrain_loss": {"base": 3.0},
        "kl": {"ppo": {"sft": 1.0}},
        "gold_against_kl": {"ppo": [{"iteration": 0, "kl_reference": 0.0, "score": 0.1}]},
        "bits_per_byte": {"model": 1.5},
    }

    text = Page(page.render(ReportData(results, {"sft": [{"step": 1}]}, [], {}))).text

    assert "New judge" in text and "Mine" in text and "10 titles to learn from" in text
    assert "the longer at most 1.25 times the shorter" in text


def test_the_page_needs_no_other_file_and_no_network(full_html: str) -> None:
    read = Page(full_html)

    assert not {"script", "link", "img", "iframe", "object", "embed"} & {
        tag for tag, _ in read.tags
    }
    assert not read.values("src")
    assert all(target.startswith("#") for target in read.values("href"))
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", full_html))
    assert "http" not in full_html and "@import" not in full_html


def test_ids_are_unique_and_whatever_points_to_one_finds_it(full_html: str) -> None:
    read = Page(full_html)
    ids = read.values("id")

    assert len(ids) == len(set(ids))
    assert {target[1:] for target in read.values("href")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", full_html)) <= set(ids)


def test_every_plot_is_described_and_takes_its_colours_from_the_page(full_html: str) -> None:
    drawn = [attributes for tag, attributes in Page(full_html).tags if tag == "svg"]
    shown = [a for a in drawn if a.get("aria-hidden") != "true"]
    plotted = re.findall(r'<svg class="plot".*?</svg>', full_html, re.DOTALL)

    assert len(plotted) > 20
    assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in shown)
    assert "base model: 70.0\u00a0%" in full_html.lower()
    for svg in plotted:
        assert not re.search(r"(fill|stroke): #", svg)
        assert "font-family" not in svg and "<style" not in svg and "<metadata" not in svg


def test_the_same_data_give_the_same_bytes_whatever_matplotlib_is_set_to(
    tmp_path: Path, full_html: str
) -> None:
    path = tmp_path / "demo" / "report.html"
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.grid": True}):
        page.write_report(path, full_data())
        assert matplotlib.rcParams["font.size"] == 30

    assert path.read_bytes() == full_html.encode("utf-8")


def test_text_of_models_and_files_is_shown_never_run() -> None:
    results = full_results()
    results["targets"][0]["name"] = TROUBLE
    results["labelers"]["train"] = [TROUBLE]
    results["bits_per_byte"]["by_source"] = {TROUBLE: {"model": 1.0}}
    results["criteria"] = {"ppo_ptx": {TROUBLE: interval(0.5)}}
    changes = {
        "metrics": {},
        "results": results,
        "samples": [sample(TROUBLE)],
        "timings": {TROUBLE: 1.0},
    }

    html = page.render(full_data(**changes, chat_command=TROUBLE))

    read = Page(html)
    assert "script" not in {tag for tag, _ in read.tags}
    assert "<script" not in html
    assert read.text.count("alert('x')") >= 8


def test_formulas_in_a_name_are_not_typeset() -> None:
    results = {"criteria": {"ppo_ptx": {r"$\frac{1$": interval(0.5)}}}

    assert r"$\frac{1$</text>" in page.render(ReportData(results, {}, [], {}))


def test_labelers_are_called_simulated_wherever_they_appear(full_html: str) -> None:
    for html in (full_html, page.render(MINIMAL)):
        text = Page(html).text.lower()

        assert text.count("simulated labeler") > 2
        assert not re.search(r"(?<!simulated )labeler", text)
        assert not re.search(r"\b(people|humans|annotators)\b", text)


def test_the_headline_says_what_was_measured(full_html: str) -> None:
    text = Page(full_html).text

    assert "Simulated labelers preferred PPO-ptx to SFT in 70 % of 300 held-out prompts." in text
    assert "95 % interval 66.0 to 75.0 %, ties count half." in text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.51, 0.6, "above 50"), (0.4, 0.49, "PPO-ptx lost"), (0.45, 0.55, "shows no difference")],
)
def test_the_headline_claims_no_more_than_the_interval(low: float, high: float, words: str) -> None:
    rate = {"mean": (low + high) / 2, "low": low, "high": high, "n": 300}

    said = views.headline({"win_rate": {"ppo_ptx": {"gold": rate}}})

    assert "gold utility" in said.sentence
    assert words in said.meaning


def test_a_smoke_run_says_so_and_claims_nothing(full_html: str) -> None:
    smoke = ReportData({"smoke": True, "win_rate": {"ppo_ptx": by_judge(0.7)}}, {}, [], {})

    text = Page(page.render(smoke)).text

    assert "Smoke run: tiny counts, no claim about quality" in text
    assert "preferred PPO-ptx" not in text
    assert "Smoke run" not in Page(full_html).text


def test_the_counts_of_the_run_stand_in_the_drawing(full_html: str) -> None:
    drawing = full_html[
        full_html.index('<section id="steps">') : full_html.index("Blind evaluation")
    ]

    for count in ("1,912", "225", "3,050", "640", "4,160", "11,870", "402", "2,560", "160"):
        assert count in drawing


def test_samples_come_in_order_and_marks_do_not_rely_on_colour() -> None:
    samples = [sample(f"Story number {number}.") for number in range(12)]

    html = page.render(full_data(results={}, metrics={}, samples=samples))

    assert [int(n) for n in re.findall(r"Once more: Story number (\d+)", html)] == list(range(8))
    assert html.count("met:</span> Use exactly one sentence") == 3 * 8
    assert html.count("missed:</span> Keep") == 3 * 8
    assert html.count("gold's choice</span>") == 8
    assert html.count("cut off at the limit</p>") == 8


def test_constraints_that_nobody_checked_stand_with_the_prompt() -> None:
    unchecked = sample()
    for answer in unchecked["responses"].values():
        answer.pop("satisfied", None)

    html = page.render(ReportData({}, {}, [unchecked], {}))

    assert html.count("<li>Use exactly one sentence</li>") == 1
    assert "met:" not in html


def test_golds_choice_is_the_best_of_the_answers_shown() -> None:
    given = sample() | {"gold_winner": "best_of_n"}
    given["responses"] = {
        model: {"text": model, "gold": gold}
        for model, gold in (("sft", 0.2), ("ppo", 0.6), ("ppo_ptx", 0.5), ("best_of_n", 0.9))
    }

    (card,) = views.sample_cards([given])

    assert [answer["key"] for answer in card["answers"]] == ["sft", "ppo", "ppo_ptx"]
    assert [answer["is_winner"] for answer in card["answers"]] == [False, True, False]


def test_samples_without_checks_or_scores_are_shown_all_the_same() -> None:
    bare = {"prompt": "Begin.", "responses": {"mine": {"text": "A cat sat."}}}

    text = Page(page.render(ReportData({}, {}, [bare], {}))).text

    assert "A cat sat." in text and "Mine" in text
    assert "Human text" not in Page(page.render(ReportData({}, {}, [bare], {}))).words


def test_targets_are_answered_in_words(full_html: str) -> None:
    text = Page(full_html).text

    assert "1 of 2 met" in text
    assert "\u2713 yes" in text and "\u2717 no" in text


def test_data_are_not_changed_by_rendering() -> None:
    given = ReportData(full_results() | {"win_rate": {}, "criteria": None}, {}, [sample()], {})
    before = copy.deepcopy(given)

    page.render(given)

    assert given == before


def test_a_moving_mean_keeps_a_straight_line_straight() -> None:
    xs = [float(i) for i in range(20)]
    ys = [3.0 * x + 1.0 for x in xs]

    mean_xs, mean_ys = plots.moving_mean(xs, 3), plots.moving_mean(ys, 3)

    assert mean_ys == pytest.approx([3.0 * x + 1.0 for x in mean_xs])
    assert plots.moving_mean([1.0, 5.0], 0) == [1.0, 5.0]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (report_data.number(-0.0004, 2, signed=True), "0.00"),
        (report_data.number(-1.25, 2), "\u22121.25"),
        (report_data.number(0.5, 1, signed=True), "+0.5"),
        (report_data.number(None), "\u2013"),
        (report_data.whole(11870), "11,870"),
        (report_data.percent(0.7125), "71.2\u00a0%"),
        (report_data.duration(4.23), "4.2\u00a0s"),
        (report_data.duration(9.97), "10\u00a0s"),
        (report_data.duration(59.7), "1\u00a0min 00\u00a0s"),
        (report_data.duration(3725), "1\u00a0h 02\u00a0min"),
        (report_data.model_name("ppo_ptx"), "PPO-ptx"),
        (report_data.model_name("follows_instruction"), "Follows instruction"),
    ],
)
def test_figures_are_written_as_a_reader_expects(written: str, wanted: str) -> None:
    assert written == wanted


def test_the_report_needs_no_torch() -> None:
    program = "import sys, alignloop.workflow.report.page; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-P", "-c", program], check=True)

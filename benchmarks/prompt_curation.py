"""Curating prompts, from ten thousand to a million: seconds, rows per second, peak memory, and how they grow.

Every size runs in a process of its own, whose memory is counted together with that of the processes it starts. The
prompts are made up from the package's own texts, by a seed: lengths as in the paper's Table 9, users by a Zipf law, and
copies, shared beginnings, personal data, conversations and six languages among them. They are made while they are
curated, and the seconds include that; how long it takes alone stands beside.

    python -m benchmarks.prompt_curation --rows 10000 30000 100000 --json curation.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.curate import curate
from alignloop.data.curation.outcomes import Tally
from alignloop.data.incoming import Candidate, Place
from alignloop.data.jsonl import read_objects
from alignloop.resources import asset
from benchmarks import measuring
from benchmarks.job import ANSWER

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
MEDIAN_TOKENS, MEAN_TOKENS = 62, 166
"""Of the paper's PPO prompts (Table 9); a log-normal law has both."""
CHARACTERS_PER_TOKEN = 4.2
ROWS_PER_USER = 15

TASKS = (
    "Write a short story about",
    "Summarize this for a second grader:",
    "Give me five ideas for",
    "Is the following text positive or negative?",
    "Translate the text below into French.",
    "Who wrote this, and when?",
    "Rewrite this in plain English:",
    "List the people who are named here:",
    "What happens next?",
    "Answer the question at the end.",
)
TEMPLATES = tuple(
    f"You are the assistant of shop number {number}. Read what the customer wrote and answer in two friendly "
    f"sentences, without promising anything that our terms, version {number % 7}, do not say. The customer: "
    for number in range(40)
)
SYSTEM = "You are a helpful assistant. Answer briefly, say when you do not know, and never make up a source."
PERSONAL = (
    "Write to {word}.{number}@mail.example.org.",
    "Call me at (415) 555-{number:04d}.",
    "My card is 4111 1111 1111 1111.",
    "Mein Konto ist DE89 3704 0044 0532 0130 00.",
    "The password: {word}{number}!",
)
LANGUAGES = {
    "zh": (
        "今天的天气很好",
        "请帮我写一封信",
        "这个故事讲的是一只狐狸",
        "他们住在河边的小房子里",
        "你觉得这个主意怎么样",
        "明天早上我们去学校",
        "请用三句话回答",
        "老师说这本书很有意思",
        "春天来了花都开了",
        "我想知道为什么天空是蓝色的",
    ),
    "de": (
        "Der Fuchs wohnt am Rand des Waldes",
        "Schreibe bitte einen kurzen Brief",
        "Was passiert danach",
        "Am Morgen gingen sie zur Schule",
        "Die Lehrerin sagte, das Buch sei gut",
        "Warum ist der Himmel blau",
        "Antworte in drei Sätzen",
        "Das Haus steht am Fluss",
    ),
    "fr": (
        "Le renard habite au bord de la forêt",
        "Écris une courte lettre",
        "Que se passe-t-il ensuite",
        "Le matin ils vont à l'école",
        "La maîtresse dit que le livre est bon",
        "Pourquoi le ciel est-il bleu",
        "Réponds en trois phrases",
    ),
    "es": (
        "El zorro vive cerca del bosque",
        "Escribe una carta corta",
        "Qué pasa después",
        "Por la mañana van a la escuela",
        "La maestra dice que el libro es bueno",
        "Por qué el cielo es azul",
        "Responde en tres frases",
    ),
    "ru": (
        "Лиса живёт на краю леса",
        "Напиши короткое письмо",
        "Что будет дальше",
        "Утром они идут в школу",
        "Учительница сказала, что книга хорошая",
        "Почему небо голубое",
        "Ответь тремя предложениями",
    ),
}
"""Sentences of other languages, to be put together."""


class Prompts:
    """A stream of made-up candidates, the same for the same seed and number of rows."""

    def __init__(self, rows: int, seed: int = 1) -> None:
        self._rows = rows
        self._draw = random.Random(seed)
        stories = read_objects(asset("stories", "childrens_books.jsonl.gz"))
        self._text = " ".join(str(story["text"]) for _, story in stories)
        self._sigma = math.sqrt(2 * math.log(MEAN_TOKENS / MEDIAN_TOKENS))
        self._recent: list[Candidate] = []

    def __iter__(self) -> Iterator[Candidate]:
        for line in range(1, self._rows + 1):
            yield self._one(Place("synthetic.jsonl", line))

    def _one(self, place: Place) -> Candidate:
        draw = self._draw
        user = f"user-{self._zipf(max(self._rows // ROWS_PER_USER, 2))}"
        chance = draw.random()
        if chance < 0.06 and self._recent:
            old = draw.choice(self._recent)
            text = old.text.upper() if chance < 0.01 else old.text + " " * (chance < 0.02)
            return Candidate(place, text, old.history, user=user)
        history: tuple[tuple[str, str], ...] = ()
        if chance < 0.16:
            turns = [
                (("user", "assistant")[i % 2], self._passage(120))
                for i in range(2 * draw.randint(1, 3))
            ]
            history = (("system", SYSTEM), *turns)
        candidate = Candidate(
            place,
            self._prompt(user),
            history,
            user="" if chance > 0.98 else user,
            organization=f"org-{hash_of(user) % 997}",
            consent=False if draw.random() < 0.02 else None,
        )
        if draw.random() < 0.1:
            self._recent.append(candidate)
            if len(self._recent) > 5000:
                self._recent.pop(draw.randrange(5000))
        return candidate

    def _prompt(self, user: str) -> str:
        draw = self._draw
        length = math.exp(draw.gauss(math.log(MEDIAN_TOKENS), self._sigma)) * CHARACTERS_PER_TOKEN
        if draw.random() < 0.002:
            return " \n"
        if draw.random() < 0.12:
            sentences = LANGUAGES[draw.choice([*LANGUAGES])]
            count = min(1 + int(length / 40), 60)
            return ". ".join(
                f"{draw.choice(sentences)} {draw.randint(1, 99)}" for _ in range(count)
            )
        text = f"{draw.choice(TASKS)} {self._passage(int(length))}"
        if draw.random() < 0.06:
            text = TEMPLATES[hash_of(user) % len(TEMPLATES)] + text
        if draw.random() < 0.03:
            word = draw.choice(("anna", "peter", "li.wei"))
            personal = draw.choice(PERSONAL).format(word=word, number=draw.randint(100, 9999))
            text = f"{text} {personal}"
        return text

    def _passage(self, length: int) -> str:
        at = self._draw.randrange(len(self._text) - length - 100)
        at = self._text.find(" ", at) + 1
        return self._text[at : at + length]

    def _zipf(self, users: int) -> int:
        """A rank with probability in proportion to its power of -0.6."""
        return int(users * self._draw.random() ** 2.5)


def hash_of(name: str) -> int:
    """A number that does not change from one Python to the next."""
    return sum(ord(sign) * 31**i for i, sign in enumerate(name)) % 1_000_003


def child(rows: int, workers: int | None) -> None:
    """Make and curate so many prompts, and print what it took."""
    start = time.perf_counter()
    prompts = Prompts(rows)
    loaded = time.perf_counter() - start
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), cpu_seconds()
        for outcome in curate(prompts, CurationConfig(), scratch=Path(folder), workers=workers):
            tally.add(outcome)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    start = time.perf_counter()
    characters = sum(len(candidate.text) for candidate in Prompts(rows))
    making = time.perf_counter() - start - loaded
    found = {
        "rows": rows,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "making_seconds": making,
        "mean_characters": characters / rows,
    }
    print(ANSWER + json.dumps(found | {"outcomes": tally.as_dict()}))


def cpu_seconds() -> float:
    """Of this process and those it started that have ended: other work on the machine does not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(rows: int, workers: int | None) -> dict[str, Any]:
    """One size in a process of its own, with the largest sum of its memory and that of all it started."""
    command = [sys.executable, "-m", "benchmarks.prompt_curation", "--child", str(rows)]
    command += ["--workers", str(workers)] if workers else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=measuring.ROOT)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.1)
    out = process.stdout.read() if process.stdout else ""
    answers = [line for line in out.splitlines() if line.startswith(ANSWER)]
    if process.returncode or not answers:
        raise SystemExit(f"{rows} rows failed, exit code {process.returncode}")
    found = json.loads(answers[-1].removeprefix(ANSWER))
    return found | {"rows_per_second": rows / found["seconds"], "peak_mib": peak / 2**20}


def resident(root: int) -> int:
    """Bytes of memory of a process and of all below it, pages that they share counted more than once (Linux)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue  # it has just ended
    below, total = {root}, 0
    while new := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= new
    for pid in below:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf(
                "SC_PAGE_SIZE"
            )
        except OSError:
            continue
    return total


def exponent(rows: Sequence[float], values: Sequence[float]) -> float:
    """The slope of a straight line through the logarithms: 1 where twice the rows take twice as much."""
    xs, ys = [math.log(x) for x in rows], [math.log(y) for y in values]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum(
        (x - mean_x) ** 2 for x in xs
    )


def draw(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """Seconds and memory over rows, as an SVG of the same bytes for the same numbers."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = [one["rows"] for one in found]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "prompt-curation", "svg.fonttype": "none"})
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        left, right = figure.subplots(1, 2)
        for name, label, look in (
            ("cpu_seconds", "of all cores", "s--"),
            ("seconds", "by the clock", "o-"),
        ):
            left.loglog(rows, [one[name] for one in found], look, color="#1f5f8b", label=label)
        straight = [found[-1]["seconds"] * n / rows[-1] for n in rows]
        left.loglog(rows, straight, ":", color="#888888", label="slope 1")
        left.set(xlabel="prompts", ylabel="seconds", title="time")
        left.legend(frameon=False)
        right.semilogx(rows, [one["peak_mib"] for one in found], "s-", color="#8b3d1f")
        right.set(
            xlabel="prompts",
            ylabel="MiB",
            title="peak memory, all processes",
            ylim=(0, 1.1 * max(one["peak_mib"] for one in found)),
        )
        for axes in (left, right):
            axes.grid(color="#dddddd")
            axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument(
        "--workers", type=int, help="processes; as many as there are cores without it"
    )
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument(
        "--picture", type=Path, help="draw it there, as docs/pictures/prompt-curation.svg"
    )
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.workers)
        return
    load = os.getloadavg()
    found: list[dict[str, Any]] = []
    print("   prompts   seconds  CPU s  making  prompts/s  peak MiB")
    for rows in given.rows:
        one = measured(rows, given.workers)
        found.append(one)
        print(
            f"{rows:>10,}{one['seconds']:>10.1f}{one['cpu_seconds']:>7.1f}{one['making_seconds']:>8.1f}"
            f"{one['rows_per_second']:>11,.0f}{one['peak_mib']:>10.0f}",
            flush=True,
        )
    result: dict[str, Any] = {"machine": measuring.measured_on(load), "sizes": found}
    if len(found) > 1:
        for name in ("seconds", "cpu_seconds"):
            slope = result[f"growth_exponent_{name}"] = exponent(
                given.rows, [one[name] for one in found]
            )
            print(f"{name} grow as rows to the {slope:.3f}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if given.picture and len(found) > 1:
        draw(given.picture, found)


if __name__ == "__main__":
    main()

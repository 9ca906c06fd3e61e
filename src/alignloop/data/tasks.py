"""Story tasks: templated instructions over human text. Torch-free.

A task takes a passage that a person wrote, asks for it by an instruction with constraints that a program can check,
and the passage satisfies them because they were read off it. So the demonstration is human, the instruction is not.
FairytaleQA adds questions and answers that people wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignloop.data import split
from alignloop.data import text as prose
from alignloop.data.constraints import Constraint, describe, is_satisfied
from alignloop.data.jsonl import read_objects
from alignloop.data.records import Demonstration, Prompt, Text
from alignloop.data.shingles import shingles
from alignloop.data.stories import tidy
from alignloop.seeds import derive_seed

_CONTINUE = (
    "Continue this story.",
    "Go on with this story.",
    "Write what happens next.",
    "What happens next?",
)
_BEGIN = ('Write the beginning of a story called "{}".', 'Begin a story with the title "{}".')
_OPENING_CHARACTERS = (50, 240)
_RESPONSE_CHARACTERS = (30, 300)
_CHARACTER_NOUNS = frozenset(
    "king queen prince princess wolf fox bear lion boy girl man woman mother father brother "
    "sister witch giant dwarf fairy dog cat mouse rat frog bird cow goat horse donkey ass "
    "sheep lamb hen cock rooster duck goose owl crow raven eagle snake crocodile elephant "
    "monkey tiger rabbit hare tortoise fish dragon hunter farmer miller soldier tailor "
    "shepherd grandmother grandfather granny uncle aunt husband wife son daughter child "
    "children servant merchant robber".split()
)
_CHARACTERS_PER_TASK = 600
"""A title gives one task for about so much text."""


def story_tasks(texts: Iterable[Text], seed: int) -> list[Demonstration]:
    """Continue-the-story and write-from-title tasks over the given texts; the same seed gives the same tasks."""
    tasks: list[Demonstration] = []
    for text in texts:
        random = np.random.default_rng(derive_seed(seed, "tasks", text.id))
        paragraphs = text.text.split("\n\n")
        task = _begin(text, paragraphs[0], random)
        if task and text.starts:
            tasks.append(task)
        passages = [
            sentences for sentences in map(prose.sentences, paragraphs) if len(sentences) >= 3
        ]
        wanted = max(len(text.text) // _CHARACTERS_PER_TASK, 1)
        chosen: list[int] = random.permutation(len(passages))[:wanted].tolist()
        for number, at in enumerate(chosen):
            if task := _continue(text, number, passages[at], random):
                tasks.append(task)
    return tasks


@dataclass(frozen=True, slots=True)
class Question:
    """A question of FairytaleQA about a story that is there."""

    id: str
    group: str
    """The story's, which keeps it on one side of the split."""
    context: str
    question: str
    answer: str
    """The first annotator's."""


def questions_about(
    path: Path, texts: Iterable[Text], *, held_out: Iterable[Text] = ()
) -> list[Question]:
    """FairytaleQA rows about the given texts.

    A passage that shares text with `held_out` is left out: it was cut from the stories of this side as well.
    """
    known = split.Known(shingles(text.text) for text in held_out)
    groups = {text.title.lower(): text.group for text in texts if text.source == "fairytale"}
    found: list[Question] = []
    for number, row in read_objects(path):
        group = groups.get(title_of_question(row["story"]))
        context, question, answer = (
            tidy(t) for t in (row["context"], row["question"], row["answers"][0])
        )
        if group is None or not answer or known.has(shingles(context)).any():
            continue
        name = f"fairytaleqa/{path.name.split('.')[0]}:{number}"
        found.append(Question(name, group, context, question, answer))
    return found


def question_tasks(
    path: Path, texts: Iterable[Text], *, held_out: Iterable[Text] = ()
) -> list[Demonstration]:
    """The same as demonstrations: the first annotator's answer is the response."""
    tasks: list[Demonstration] = []
    for one in questions_about(path, texts, held_out=held_out):
        prompt = Prompt(
            id=one.id,
            text=f"Answer the question about this story.\n\n{one.context}\n\n{one.question}",
            group=one.group,
            source="fairytaleqa",
            use_case="question",
            context=one.context,
        )
        tasks.append(Demonstration(prompt=prompt, response=one.answer, labeler="annotator"))
    return tasks


def title_of_question(story: str) -> str:
    """The title that a FairytaleQA row names, as the stories write it, in lower case."""
    return tidy(story.replace("-", " ")).lower()


def _begin(text: Text, paragraph: str, random: np.random.Generator) -> Demonstration | None:
    sentences = prose.sentences(paragraph)
    count = int(random.integers(1, 4))
    if len(sentences) < count or not text.title or len(text.title) > 60:
        return None
    instruction = _BEGIN[int(random.integers(len(_BEGIN)))].format(text.title)
    return _task(text, "begin", "begin", instruction, "", sentences[:count], random)


def _continue(
    text: Text, number: int, sentences: Sequence[str], random: np.random.Generator
) -> Demonstration | None:
    count = int(random.integers(1, 4))
    if len(sentences) < 2 + count:
        return None
    start = int(random.integers(0, len(sentences) - 1 - count))
    opening = " ".join(sentences[start : start + 2])
    if not _OPENING_CHARACTERS[0] <= len(opening) <= _OPENING_CHARACTERS[1] or not _is_clean(
        opening
    ):
        return None
    instruction = _CONTINUE[int(random.integers(len(_CONTINUE)))]
    response = sentences[start + 2 : start + 2 + count]
    return _task(text, f"continue-{number}", "continue", instruction, opening, response, random)


def _task(
    text: Text,
    key: str,
    use_case: str,
    instruction: str,
    opening: str,
    response: Sequence[str],
    random: np.random.Generator,
) -> Demonstration | None:
    answer = " ".join(response)
    if not _RESPONSE_CHARACTERS[0] <= len(answer) <= _RESPONSE_CHARACTERS[1] or not _is_clean(
        answer
    ):
        return None
    constraints = _constraints(opening, answer, len(response), random)
    if not constraints:
        return None
    asked = " ".join([instruction, *(f"{describe(constraint)}." for constraint in constraints)])
    prompt = Prompt(
        id=f"{text.id}:{key}",
        text=f"{asked}\n\n{opening}" if opening else asked,
        group=text.group,
        source=text.source,
        use_case=use_case,
        context=opening or text.title,
        constraints=constraints,
    )
    return Demonstration(prompt=prompt, response=answer, labeler="author", instructions="templated")


def _constraints(
    opening: str, answer: str, sentences: int, random: np.random.Generator
) -> tuple[Constraint, ...]:
    """One or two constraints that the human text satisfies."""
    heard = set(prose.words(answer.replace("'s", "")))
    nouns = [word for word in dict.fromkeys(prose.words(opening)) if word in _CHARACTER_NOUNS]
    shared = [who for who in (*prose.names(opening), *nouns) if who.lower() in heard]
    possible = [Constraint(kind="sentences", value=str(sentences))]
    if shared:
        possible.append(Constraint(kind="mentions", value=shared[0]))
    last = prose.last_word(answer)
    if 3 <= len(last) <= 9 and "'" not in last and "-" not in last:
        possible.append(Constraint(kind="last_word", value=last))
    possible.append(Constraint(kind="speech" if prose.has_speech(answer) else "no_speech"))
    weights = np.array(
        [{"sentences": 4.0, "mentions": 4.0, "last_word": 1.0}.get(c.kind, 1.5) for c in possible]
    )
    count = min(int(random.integers(1, 3)), len(possible))
    chosen: list[int] = random.choice(
        len(possible), size=count, replace=False, p=weights / weights.sum()
    ).tolist()
    constraints = tuple(possible[i] for i in sorted(chosen))
    return constraints if all(is_satisfied(c, answer) for c in constraints) else ()


def _is_clean(passage: str) -> bool:
    """Whole sentences of running prose: starts like a sentence, ends like one, quotes closed, no headings or lists."""
    letters = [c for c in passage if c.isalpha()]
    return (
        bool(re.match(r"[\"']?[A-Z]", passage))
        and prose.ends_properly(passage)
        and prose.speech_is_whole(passage)
        and sum(c.isupper() for c in letters) < 0.15 * len(letters)
        and not re.search(r"[\[\]{}|*=<>]|\d{3}|https?:", passage)
        and all(len(sentence) > 4 for sentence in prose.sentences(passage))
    )

"""Questions about a passage: SQuAD 2.0 and QuAC, whose questions follow one another, and FairytaleQA.

A question of SQuAD or QuAC is asked behind those before it on the same passage, with their right answers, as the
released samples of the paper have it. Where the passage does not say, a fixed sentence is the right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.evaluation.metrics import squad
from alignloop.evaluation.metrics.hallucination import invented_share, invented_words
from alignloop.evaluation.metrics.rouge import rouge_l
from alignloop.evaluation.tasks.rows import Row, is_nested, read_rows, whole
from alignloop.evaluation.tasks.task import Item, Metric, Output, Setting, Task, mean_of

NOT_IN_BACKGROUND = "Not in background."
DO_NOT_KNOW = "I don't know."
REFUSALS = (NOT_IN_BACKGROUND, DO_NOT_KNOW)
_CANNOT_ANSWER = "CANNOTANSWER"

# --- metrics: they are the same for all three ---


def _said(output: Output) -> str:
    return squad.without_refusal(output.text, REFUSALS)


def _refuses(output: Output) -> bool:
    """Whether it says that there is no answer: an empty text does not say so."""
    return bool(squad.normalized(output.text)) and not _said(output)


def _f1(item: Item, output: Output) -> float:
    if not item.about["references"]:
        return float(_refuses(output))
    return squad.best(squad.f1, _said(output), item.about["references"])


def _exact(item: Item, output: Output) -> float:
    if not item.about["references"]:
        return float(_refuses(output))
    return squad.best(squad.exact_match, _said(output), item.about["references"])


def _f1_where_answered(item: Item, output: Output) -> float | None:
    return _f1(item, output) if item.about["references"] else None


def _answers_anyway(item: Item, output: Output) -> float | None:
    return None if item.about["references"] else float(bool(squad.normalized(_said(output))))


def _invented(item: Item, output: Output) -> float | None:
    return invented_share(_said(output), item.query)


def _invents(item: Item, output: Output) -> float:
    return float(bool(invented_words(_said(output), item.query)))


F1 = mean_of("f1", "words in common with the nearest reference", _f1)
EXACT = mean_of("exact", "share of answers that are a reference, normalised", _exact)
INVENTED = (
    mean_of(
        "invented_words",
        "share of an answer's content words that passage and question lack, mean over answers with such words",
        _invented,
        better="lower",
    ),
    mean_of(
        "invents",
        "share of answers with a content word that passage and question lack",
        _invents,
        better="lower",
    ),
)
ANSWERED: tuple[Metric, ...] = (
    mean_of("f1_answerable", "F1 where the passage has an answer", _f1_where_answered),
    mean_of(
        "answers_anyway",
        "share of questions answered of those that the passage does not answer",
        _answers_anyway,
        better="lower",
    ),
)

# --- SQuAD 2.0 ---


def read_squad(path: Path) -> list[Item]:
    """The official JSON; or rows of `context`, the whole prompt up to "A:", and `references`."""
    if not is_nested(path):
        return [_rendered(row, NOT_IN_BACKGROUND) for row in read_rows(path)]
    found: list[Item] = []
    for article in whole(path).each("data"):
        title = article.words("title")
        for number, paragraph in enumerate(article.each("paragraphs")):
            head = f"Title: {title}\n\nBackground: {paragraph.words('context')}"
            found += _in_turn(paragraph.each("qas"), head, f"{title}-{number}", NOT_IN_BACKGROUND)
    return found


def _rendered(row: Row, refusal: str) -> Item:
    query = row.words("context")
    references = row.texts("references")
    head = query.partition("\n\nQ:")[0]
    wanted = [one for one in references if squad.normalized(one) != squad.normalized(refusal)]
    return Item(
        id=row.name("id"),
        query=query,
        answer=(wanted or [refusal])[0],
        cluster=head,
        about={"references": _with_words(wanted)},
    )


def _in_turn(questions: Sequence[Row], head: str, cluster: str, refusal: str) -> list[Item]:
    """The questions on one passage, each behind those before it."""
    found: list[Item] = []
    so_far = head
    for row in questions:
        wanted = [answer.text("text").strip() for answer in row.each("answers")]
        wanted = _with_words([one for one in wanted if one != _CANNOT_ANSWER])
        query = f"{so_far}\n\nQ: {row.words('question')}\n\nA:"
        item = Item(
            id=row.name("id"),
            query=query,
            answer=(wanted or [refusal])[0],
            cluster=cluster,
            about={"references": wanted},
        )
        found.append(item)
        so_far = f"{query} {item.answer}"
    return found


def _with_words(references: Sequence[str]) -> list[str]:
    """Those that leave something when they are normalised: the official evaluation passes over the others."""
    return [one for one in references if squad.normalized(one)]


# --- QuAC ---


def read_quac(path: Path) -> list[Item]:
    """The official JSON: dialogues of questions on a section of an article."""
    found: list[Item] = []
    for article in whole(path).each("data"):
        title = article.words("title")
        for paragraph in article.each("paragraphs"):
            source = paragraph.words("context").removesuffix(_CANNOT_ANSWER).strip()
            section = article.text("section_title") if article.has("section_title") else ""
            head = f"Title: {title}" + (f"\n\nSection: {section}" if section else "")
            found += _in_turn(
                paragraph.each("qas"),
                f"{head}\n\nParagraph: {source}",
                paragraph.name("id"),
                DO_NOT_KNOW,
            )
    return found


# --- FairytaleQA ---


def read_fairytale(path: Path) -> list[Item]:
    """Rows with `story`, `context`, `question` and `answers`."""
    found: list[Item] = []
    for row in read_rows(path):
        source, question = row.words("context"), row.words("question")
        references = [one.strip() for one in row.texts("answers") if one.strip()]
        if not references:
            raise row.error("field 'answers' has no answers")
        found.append(
            Item(
                id=row.where,
                query=f"Story: {source}\nQuestion: {question}\nAnswer:",
                answer=references[0],
                cluster=row.words("story"),
                kind=row.text("type") if row.has("type") else "",
                about={"references": references},
            )
        )
    return found


def _rouge(item: Item, output: Output) -> float:
    return squad.best(rouge_l, output.text, item.about["references"])


SQUAD = Task(
    name="squad2",
    title="SQuAD 2.0",
    read=read_squad,
    metrics=(F1, EXACT, *ANSWERED, *INVENTED),
    conditions=(
        Setting(
            "",
            "Answer each question from the background before it. Where the background does not say, answer: "
            f"{NOT_IN_BACKGROUND}",
        ),
    ),
    shots=(0, 4),
    bundled="tasks/squad2_contexts.jsonl.gz",
    notes=("Of the bundled sample 72 questions with references: a spot check, not the data set.",),
)
QUAC = Task(
    name="quac",
    title="QuAC",
    read=read_quac,
    metrics=(F1, *ANSWERED, *INVENTED),
    conditions=(
        Setting(
            "",
            "Answer each question from the paragraph before it. Where the paragraph does not say, answer: "
            f"{DO_NOT_KNOW}",
        ),
    ),
    shots=(0, 2),
)
FAIRYTALE = Task(
    name="fairytale_qa",
    title="FairytaleQA",
    read=read_fairytale,
    metrics=(
        F1,
        EXACT,
        mean_of("rouge_l", "ROUGE-L with the nearest reference", _rouge),
        *INVENTED,
    ),
    conditions=(Setting("", "Answer each question from the story before it."),),
    shots=(0, 2),
    bundled="stories/fairytale_qa_val.jsonl.gz",
    split_by="where the answer stands",
    has_stories=True,
    notes=(
        "The demo's models learned from most of the bundled stories and their questions; with --text only stories that "
        "it held out are asked about.",
    ),
)

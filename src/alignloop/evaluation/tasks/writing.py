"""Tasks whose answer is a text: translation, summaries, WSC's referents, and the many tasks of P3."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alignloop.evaluation.metrics import bleu, squad
from alignloop.evaluation.metrics.rouge import rouge_l
from alignloop.evaluation.tasks.rows import Row, read_rows
from alignloop.evaluation.tasks.task import Floats, Item, Metric, Output, Setting, Task, mean_of

# --- translation ---


def read_translations(path: Path) -> list[Item]:
    """Pairs: `fr` and `en`, `source` and `target`, or an object of the first two under `translation`."""
    found: list[Item] = []
    for row in read_rows(path):
        pair = row.inner("translation") if row.has("translation") else row
        source, target = pair.words("fr", "source"), pair.words("en", "target")
        query, about = f"French: {source}\nEnglish:", {"reference": target}
        found.append(Item(row.name("id"), query, answer=target, about=about))
    return found


def _bleu_columns(item: Item, output: Output) -> tuple[float, ...]:
    return bleu.sentence_counts(output.text, [item.about["reference"]])


def _bleu(sums: Floats) -> Floats:
    return np.array([bleu.corpus_bleu(row) for row in sums.tolist()])


TRANSLATION = Task(
    name="translation",
    title="French to English",
    read=read_translations,
    metrics=(Metric("bleu", "corpus BLEU by sacrebleu, 0 to 100", _bleu_columns, _bleu),),
    conditions=(Setting("", "Translate the following sentences from French into English."),),
    shots=(0, 15),
    longest=96,
)

# --- summaries ---


def read_cnn(path: Path) -> list[Item]:
    """Rows with `article` and `highlights`."""
    return [_summary(row, row.words("article"), row.words("highlights")) for row in read_rows(path)]


def read_tldr(path: Path) -> list[Item]:
    """Rows with `post` (or `content`, `text`) and `summary`."""
    return [
        _summary(row, row.words("post", "content", "text"), row.words("summary"))
        for row in read_rows(path)
    ]


def _summary(row: Row, text: str, summary: str) -> Item:
    return Item(row.name("id"), f"{text}\n\nTL;DR:", about={"reference": summary})


def _rouge(item: Item, output: Output) -> float:
    return rouge_l(output.text, item.about["reference"])


ROUGE = mean_of("rouge_l", "longest common subsequence of words as F1, no stemming", _rouge)
_CUT = ("A summary is cut at its first newline, as every answer is (InstructGPT, D).",)
CNN_DM = Task("cnn_dm", "CNN/Daily Mail", read_cnn, (ROUGE,), longest=128, notes=_CUT)
TLDR = Task("tldr", "TL;DR", read_tldr, (ROUGE,), longest=96, notes=_CUT)

# --- WSC ---


def read_wsc(path: Path) -> list[Item]:
    """SuperGLUE's rows: `text`, `target` with the two spans, `label`."""
    return [_wsc(row) for row in read_rows(path)]


def _wsc(row: Row) -> Item:
    text, target = row.words("text"), row.inner("target")
    noun, pronoun = target.words("span1_text"), target.words("span2_text")
    words = text.split()
    at = target.index("span2_index", below=len(words))
    label = row.fields.get("label")
    if not isinstance(label, bool):
        raise row.error(f"field 'label' is {label!r}, but true or false is needed")
    if not squad.contains(words[at], pronoun):
        raise row.error(f"word {at} of the text is '{words[at]}', not the pronoun '{pronoun}'")
    words[at] = f"*{words[at]}*"
    query = (
        f'Passage: {" ".join(words)}\nQuestion: Whom or what does "*{pronoun}*" refer to?\nAnswer:'
    )
    return Item(
        id=row.name("idx"),
        query=query,
        answer=noun if label else "",  # where the noun is wrong, the right one is not given
        about={"noun": noun, "label": label},
    )


def _wsc_right(item: Item, output: Output) -> float:
    says_so = squad.contains(output.text, item.about["noun"])
    return float(says_so == item.about["label"])


WSC = Task(
    name="wsc",
    title="WSC",
    read=read_wsc,
    metrics=(
        mean_of(
            "accuracy",
            "share of verdicts that are right: true where the answer contains the noun",
            _wsc_right,
        ),
    ),
    conditions=(Setting("", "Say of each passage what the marked pronoun refers to."),),
    shots=(0, 15),
    notes=(
        "An answer that names nothing counts as false: always naming nothing is right as often as the label is false.",
    ),
)

# --- P3 ---


def read_p3(path: Path) -> list[Item]:
    """Rows with `template`, `dataset`, `prompt` and `completion`."""
    return [
        Item(
            id=row.where,
            query=row.words("prompt"),
            cluster=row.words("template"),
            kind=row.words("dataset"),
            about={"reference": row.words("completion")},
        )
        for row in read_rows(path)
    ]


def _exact(item: Item, output: Output) -> float:
    return squad.exact_match(output.text, item.about["reference"])


P3 = Task(
    name="p3",
    title="P3, many tasks",
    read=read_p3,
    metrics=(
        mean_of("exact", "share of answers that are the reference, normalised", _exact),
        ROUGE,
    ),
    longest=64,
    split_by="data set",
    notes=(
        "The same passages stand under several templates: hold out whole data sets, not rows, from what was learned.",
    ),
)

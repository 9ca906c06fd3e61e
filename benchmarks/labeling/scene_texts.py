"""Texts of the scene: the bundled example prompts and fables, and answers to three of the prompts, from good to bad."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

from alignloop.resources import asset

ASKED = (
    "Go on with this fable, and end with its moral.",
    "Tell this fable to its end, for a child of six.",
)

BREAD = (
    "It is mostly the starch, not lost water. In fresh bread the starch is soft and disordered. As the loaf cools it slowly "
    "goes back to a firm, crystalline form, and that process is fastest a few degrees above freezing, just where a fridge "
    "stands. On the counter it is slower; in the freezer it almost stops.\n\n"
    "So: keep bread in a bag or box at room temperature for two or three days, and freeze what you will not eat by then. "
    "A minute in the toaster makes stale bread soft again for a while.",
    "Because of **retrogradation**: starch that swelled in the oven turns crystalline again, and cold speeds that up.\n\n"
    "- Counter: slow\n- Fridge (4 °C): fastest\n- Freezer: almost stopped\n\nFreeze what you cannot eat in two days.",
    "Bread goes stale in the fridge because the starch in it hardens faster when it is cold. Room temperature is better.",
    "A fridge is a very dry place. The cold air draws the water out of the bread, so it dries, and dry bread is stale bread. "
    "Bakers have known this since 1847, when the first bread fridge was patented in Vienna. Put a cup of water beside the "
    "loaf to keep the air moist.",
    "Bread is a staple food that is enjoyed all over the world. There are many kinds of bread, such as rye, wheat and spelt. "
    "Whether to put it in the fridge is a matter of taste, and everybody has to find their own way.",
)
"""To "Why does bread go stale faster in the fridge than on the kitchen counter?"."""

INVENTED = BREAD[3]
"""The one that makes things up."""

CRAB = (
    "按正常的量一起吃，不会中毒。\n\n这种说法大概来自两点：柿子里的鞣酸多，空腹吃很多，尤其是没熟透的，容易在胃里结块，让人难受；"
    "螃蟹要是不新鲜、没蒸熟，会引起腹泻。两样碰巧同一天吃，就被说成是“相克”。\n\n螃蟹蒸透，柿子选熟的，别空腹，别贪多，就可以放心。"
    "肠胃一向不好的人，可以隔几个小时再吃。",
    "不会中毒，但**不建议**同时大量吃：\n\n- 柿子含鞣酸，空腹多吃伤胃\n- 螃蟹要新鲜、熟透\n\n隔开吃更舒服。",
    "没有道理，这只是老人的迷信，不用听。",
    "有道理。螃蟹里的砷遇到柿子里的维生素会变成砒霜，一只螃蟹加两个柿子就足以致命，古书上早有记载。",
)
"""To "听老人说螃蟹和柿子不能一起吃，会中毒。这有道理吗？"."""

GRANDPA = (
    "You can say what is true in plain words, and say it more than once, because she will ask more than once.\n\n"
    '"Grandpa died. That means his body stopped working, and it will not start again. He is not cold, and nothing hurts him. '
    "We cannot visit him or call him, and that makes us sad. But we can remember him: what he smelled like, the"
)
"""The beginning of an answer to "My father-in-law died last month ...", as somebody is writing it."""


@cache
def examples() -> list[dict[str, Any]]:
    """The bundled example prompts."""
    return [json.loads(line) for line in _lines("prompts/examples.jsonl")]


def example(word: str) -> str:
    """Text of the first example that holds a word."""
    return next(one["text"] for one in examples() if word in one["text"])


@cache
def fables() -> list[dict[str, str]]:
    """`title`, `fable` and `moral` of each."""
    return [json.loads(line) for line in _lines("stories/aesop_for_children.jsonl.gz")]


def fable_task(number: int, k: int) -> tuple[str, list[str], list[float]]:
    """A prompt with up to k outputs, and what they are worth: the fable's end, parts of it, and the ends of others.

    Each number below twice the number of fables is another prompt.
    """
    found = fables()
    times, at = divmod(number, len(found))
    fable = found[at]
    sentences = fable["fable"].split(". ")
    cut = max(len(sentences) // 2, 1)
    begun, end = ". ".join(sentences[:cut]) + ".", ". ".join(sentences[cut:])
    worth = {end + "\n\n" + fable["moral"]: 3.8, end: 3.4, end[: len(end) // 2] + "...": 2.3}
    for step in range(1, k):
        other = found[(at + step) % len(found)]
        worth[other["fable"].split(". ")[-1] + "\n\n" + other["moral"]] = 1.9 - 0.3 * step
    chosen = [text for text in worth if text.strip(". ")][:k]
    return f"{ASKED[times % 2]}\n\n{begun}", chosen, [worth[text] for text in chosen]


def _lines(name: str) -> list[str]:
    read = asset(name).read_bytes()
    text = (gzip.decompress(read) if name.endswith(".gz") else read).decode("utf-8")
    return [line for line in text.splitlines() if line.strip()]

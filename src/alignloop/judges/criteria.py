"""The criteria: what a reader may like in the continuation of a children's story, one pure function each.

Every criterion reads `(prompt, text, lexicon)` and answers from 0 (bad) to 1 (as good as people
write). Three habits keep them honest when a policy is trained against them:

- an empty text scores 0 on everything, and a text of a few words gets only a share of the credit
  for avoiding a fault;
- each criterion saturates at what people do: more than that is not better;
- words copied from the prompt count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alignloop.data import text as prose
from alignloop.data.constraints import is_satisfied
from alignloop.data.records import Prompt
from alignloop.judges import reading
from alignloop.judges.lexicon import Lexicon, stem_of

Criterion = Callable[[Prompt, str, Lexicon], float]

FEW_WORDS = 8
"""Below this many words, credit for avoiding a fault is in proportion to the words written."""
SENTENCES_WANTED = 2
"""How many sentences an answer should have where the prompt does not say."""
WORDS_PER_SENTENCE = 9
"""How many words a full sentence has, at least: what three of four human sentences have."""
COMMON, RARE = 2.0, 5.0
"""Rarity (nats) from which a word tells something about the subject, and above which it tells no more."""
SHARED_ENOUGH = 3.0
"""Weight of the shared words that puts a text on the subject: one rare word, or a few others."""
TOLD_NOTHING, TOLD_ENOUGH = 1.5, 6.0
"""Weight of its new words with which a sentence tells nothing, and enough: stock sentences have about 3,
three of four human ones have 6."""


def follows_instruction(prompt: Prompt, text: str, _lexicon: Lexicon) -> float:
    """Does what the instruction asks, as far as a program can check it.

    The share of the prompt's constraints that hold; where it has none, every answer gets 1/2.
    """
    if not reading.words(text):
        return 0.0
    if not prompt.constraints:
        return 0.5
    return sum(is_satisfied(constraint, text) for constraint in prompt.constraints) / len(
        prompt.constraints
    )


def keeps_characters(prompt: Prompt, text: str, lexicon: Lexicon) -> float:
    """Stays with the people of the prompt.

    Half for naming somebody again whom the prompt names, half for going on with the same he, she, they
    or I (pronouns that both use, as a share of those that either uses). Where the prompt has only one of
    the two, all is for that; where it has neither, every answer gets 1/2. Two new names are welcome, each
    further one takes 15 % off.
    """
    subject = reading.subject_of(prompt)
    asked = {c.value.lower() for c in prompt.constraints if c.kind == "mentions"}
    known = reading.names(subject, lexicon) | asked
    before, after = reading.pronouns(subject), reading.pronouns(text)
    signs: list[float] = []
    if known:
        signs.append(1.0 if known & reading.plain_words(text) else 0.0)
    if before:
        signs.append(len(before & after) / len(before | after))
    kept = sum(signs) / len(signs) if signs else 0.5
    strangers = reading.names(text, lexicon) - known - reading.plain_words(prompt.text)
    return max(0.0, kept - 0.15 * max(0, len(strangers) - 2)) * evidence(text)


def stays_on_subject(prompt: Prompt, text: str, lexicon: Lexicon) -> float:
    """Speaks of the same things: content words of the prompt come back.

    Rare words count more, names and words inside copied runs not at all. One rare word or a few others
    are enough, as in human text (of a short title, half). Where the prompt has no content words, every
    answer gets 1/2.
    """
    there = frozenset(
        stem for stem in reading.stems(reading.subject_of(prompt)) if stem in lexicon.passages_with
    )
    enough = min(SHARED_ENOUGH, weight(there, lexicon) / 2.0)
    shared = reading.own_stems(prompt.text, text) & there
    return min(1.0, weight(shared, lexicon) / enough) if enough else 0.5 * evidence(text)


def keeps_voice(prompt: Prompt, text: str, _lexicon: Lexicon) -> float:
    """Tells the story on in the tense and the person of the prompt (speech in quotation marks aside).

    A prompt without verbs, a title say, has no voice to keep.
    """
    before, after = reading.narration(reading.subject_of(prompt)), reading.narration(text)
    told = reading.pastness(before)
    tense = 1.0 - abs(told - reading.pastness(after)) / 2.0 if told else 1.0
    first = reading.speaks_in_first_person(before)
    person = first == reading.speaks_in_first_person(after) or not (told or first)
    return (0.6 * tense + 0.4 * person) * evidence(text)


def reads_fluently(_prompt: Prompt, text: str, lexicon: Lexicon) -> float:
    """Reads like English: the words follow one another as they do in stories, and they are words.

    0 where the order says nothing (shuffled words), 1 from the human median on, so that stock phrases
    win nothing; the curve flattens towards 1, since differences among human texts say little. Made-up
    words (names are not) take off in proportion: all of it where one word in six is made up.
    """
    low, middle = lexicon.human_fluency
    fluency = reading.fluency(text, lexicon)
    missing = 1.0 - _between(fluency, middle - 2.0 * (middle - low), middle)
    invented = reading.made_up(text, lexicon) / max(len(reading.words(text)), 1)
    return (1.0 - missing**2) * max(0.0, 1.0 - 6.0 * invented) * evidence(text)


def does_not_copy(prompt: Prompt, text: str, _lexicon: Lexicon) -> float:
    """Goes on instead of saying the prompt again.

    1 where no four words in a row are the prompt's, 0 where a quarter of the words are in such runs.
    """
    copied = reading.copied(prompt.text, text)
    return (1.0 - _between(sum(copied) / max(len(copied), 1), 0.0, 0.25)) * evidence(text)


def does_not_repeat(_prompt: Prompt, text: str, _lexicon: Lexicon) -> float:
    """Says each thing once: 0 where a quarter of all runs of three words were there before."""
    words = reading.words(text)
    runs = [words[at : at + 3] for at in range(len(words) - 2)]
    repeated = (len(runs) - len(set(runs))) / max(len(runs), 1)
    return (1.0 - _between(repeated, 0.0, 0.25)) * evidence(text)


def is_gentle(_prompt: Prompt, text: str, _lexicon: Lexicon) -> float:
    """Fit for small children: each cruel or hateful word takes half off."""
    cruel = sum(stem_of(word) in _CRUEL for word in reading.words(text))
    return max(0.0, 1.0 - 0.5 * cruel) * evidence(text)


def ends_properly(_prompt: Prompt, text: str, _lexicon: Lexicon) -> float:
    """Comes to the end of its last sentence, instead of stopping in the middle."""
    return evidence(text) if prose.ends_properly(text) else 0.0


def has_substance(prompt: Prompt, text: str, lexicon: Lexicon) -> float:
    """Tells something new, in whole sentences.

    Nine words for each sentence asked for, and in each sentence words that are neither common nor the
    prompt's. Most human texts have enough of both, so a longer answer is not a better one.
    """
    asked = [int(c.value) for c in prompt.constraints if c.kind == "sentences"]
    wanted = asked[0] if asked else SENTENCES_WANTED
    told = weight(reading.stems(text) - reading.stems(prompt.text), lexicon)
    return min(
        _between(len(reading.words(text)) / wanted, 0.0, WORDS_PER_SENTENCE),
        _between(told / max(wanted, len(reading.sentences(text))), TOLD_NOTHING, TOLD_ENOUGH),
    )


CRITERIA: Mapping[str, Criterion] = {
    criterion.__name__: criterion
    for criterion in (
        follows_instruction,
        keeps_characters,
        stays_on_subject,
        keeps_voice,
        reads_fluently,
        does_not_copy,
        does_not_repeat,
        is_gentle,
        ends_properly,
        has_substance,
    )
}
"""The criteria that gold and the training labelers use, by name."""


def evidence(text: str) -> float:
    """How far a text is long enough to show that it avoids a fault: 0 for none, 1 from FEW_WORDS on."""
    return min(1.0, len(reading.words(text)) / FEW_WORDS)


def weight(stems: frozenset[str], lexicon: Lexicon) -> float:
    """What words tell about the subject, in nats: a common one 0, a rare one at most RARE - COMMON."""
    return sum(
        min(max(lexicon.rarity(stem) - COMMON, 0.0), RARE - COMMON) for stem in sorted(stems)
    )


def _between(value: float, low: float, high: float) -> float:
    """0 at `low` and below, 1 at `high` and above, straight between."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


_CRUEL = frozenset(
    stem_of(word)
    for word in "kill killer murder murderer blood bloody stab stabbed torture corpse slaughter strangle "
    "behead gallows throttle whip whipped flog flogged massacre mutilate "
    "nigger negro savage squaw".split()
)

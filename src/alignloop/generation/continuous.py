"""A batch that rows join and leave while it is being written, each with its own way of drawing.

What a row draws depends on its prompt and its seed alone, whoever is in the batch beside it: its uniforms are a stream
of its own, and a token is the inverse of its cumulative distribution at the next of them, as in `native`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.config import Precision
from alignloop.errors import EngineError
from alignloop.generation.decoder import Decoder
from alignloop.generation.native import Head, decoder_for, draw
from alignloop.tensors import generator

_COMPACT_BELOW = 0.75
"""Places of rows that left are given up once fewer than this share of all is taken."""

_ROOM = 64
"""Tokens that room is made for when a row joins."""

_UNIFORMS = 64
"""Uniforms of a row that are drawn at a time."""

_COLDEST = 1e-5
"""Temperatures below are taken as 0: divided by less, logits would leave the range of float32."""


@dataclass(frozen=True, slots=True)
class RowSampling:
    """How one row draws."""

    max_new_tokens: int
    """At most so many steps are asked of the row."""
    seed: int
    temperature: float = 1.0
    """Divides the logits; at 0 the likeliest token is taken."""
    top_p: float = 1.0
    """Draw from the fewest tokens that have this probability together (Holtzman et al. 2019)."""
    top_log_probs: int | None = None
    """How many of the likeliest tokens are told at each step; None tells no log-probability at all."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row that is to join."""

    key: int
    """What the row is called by; free in the batch."""
    prompt: tuple[int, ...]
    sampling: RowSampling


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token of one row."""

    token: int
    log_prob: float | None = None
    """Under the model itself: before temperature and nucleus."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with theirs, falling."""


@dataclass(slots=True)
class _Row:
    key: int
    sampling: RowSampling
    uniforms: Iterator[float]


class ContinuousBatch:
    """Rows of one policy. `step` gives each a token; between two steps rows may be dropped and admitted."""

    def __init__(self, model: PreTrainedModel, precision: Precision = "float32") -> None:
        """A batch with no rows, of the model's weights as they are now."""
        self._head = Head(model, precision)
        self._decoder = decoder_for(model, precision)
        self._device = self._head.device
        self._rows: list[_Row | None] = []
        """By place; None where a row has left."""
        self._hidden = torch.empty(0)
        self._tokens: Tensor | None = None
        """What was drawn last, where the model has not read it yet."""

    def __len__(self) -> int:
        """Rows that are under way."""
        return sum(row is not None for row in self._rows)

    @property
    def can_join(self) -> bool:
        """Whether rows may be admitted beside others; if not, only while there are none."""
        return self._decoder.can_join

    @torch.no_grad()
    def admit(self, rows: Sequence[NewRow]) -> None:
        """Let rows join; equal prompts among them are read once.

        Raises:
            EngineError: there are rows already, and rows of this model cannot join others.
        """
        if not rows:
            return
        if not len(self):
            self._rows, self._tokens = [], None
            self._hidden = self._start(self._decoder, rows)
            self._rows = [_row_of(row) for row in rows]
            return
        if not self.can_join:
            raise EngineError("rows of this model cannot join others; wait until there are none")
        self._advance()
        newcomers = self._decoder.fresh()
        hidden = self._start(newcomers, rows)
        free = [place for place, row in enumerate(self._rows) if row is None]
        places = (free + list(range(len(self._rows), len(self._rows) + len(rows))))[: len(rows)]
        at = torch.tensor(places, device=self._device)
        self._decoder.join(newcomers, at)
        beyond = max(max(places) + 1 - len(self._rows), 0)
        self._rows += [None] * beyond
        self._hidden = F.pad(self._hidden, (0, 0, 0, beyond))
        self._hidden[at] = hidden
        for place, row in zip(places, rows, strict=True):
            self._rows[place] = _row_of(row)

    @torch.no_grad()
    def step(self) -> dict[int, Drawn]:
        """One token for every row, by its key; none where there are no rows."""
        if not len(self):
            return {}
        self._advance()
        logits = self._head.logits(self._hidden, 1.0)
        self._tokens = self._drawn(logits)
        told = self._told(logits, self._tokens)
        found: dict[int, Drawn] = {}
        for place, token in enumerate(self._tokens.tolist()):
            if (row := self._rows[place]) is not None:
                found[row.key] = told.get(place) or Drawn(token)
        return found

    @torch.no_grad()
    def drop(self, keys: Iterable[int]) -> None:
        """Let rows leave; their places are for those that come, or are given up."""
        leaving = set(keys)
        places = [p for p, row in enumerate(self._rows) if row is not None and row.key in leaving]
        for place in places:
            self._rows[place] = None
        staying = [p for p, row in enumerate(self._rows) if row is not None]
        if not places or not staying:
            return
        if len(staying) < _COMPACT_BELOW * len(self._rows):
            kept = torch.tensor(staying, device=self._device)
            self._decoder.keep(kept)
            self._rows = [self._rows[place] for place in staying]
            self._hidden = self._hidden[kept]
            self._tokens = None if self._tokens is None else self._tokens[kept]
        elif self.can_join:
            self._decoder.release(torch.tensor(places, device=self._device))

    def _start(self, decoder: Decoder, rows: Sequence[NewRow]) -> Tensor:
        where = {
            prompt: number for number, prompt in enumerate(dict.fromkeys(r.prompt for r in rows))
        }
        at = torch.tensor([where[row.prompt] for row in rows], device=self._device)
        room = max(row.sampling.max_new_tokens for row in rows)
        # Caches that rows can join grow as they are needed.
        return decoder.start(list(where), at, min(room, _ROOM) if decoder.can_join else room)

    def _advance(self) -> None:
        """Let the model read what was drawn last."""
        if self._tokens is not None:
            self._hidden = self._decoder.step(self._tokens)
            self._tokens = None

    def _drawn(self, logits: Tensor) -> Tensor:
        """[B]: a token for every place; what a free one draws is nobody's."""
        rows = self._rows
        temperatures = [1.0 if row is None else row.sampling.temperature for row in rows]
        is_greedy = [temperature < _COLDEST for temperature in temperatures]
        best = logits.argmax(dim=1) if any(is_greedy) else None
        if best is not None and all(is_greedy):
            return best
        scaled = logits
        if any(temperature != 1.0 for temperature in temperatures):
            divisors = [1.0 if g else t for g, t in zip(is_greedy, temperatures, strict=True)]
            scaled = logits / torch.tensor(divisors, device=self._device)[:, None]
        cut = [p for p, row in enumerate(rows) if row is not None and row.sampling.top_p < 1]
        if cut:
            at = torch.tensor(cut, device=self._device)
            shares = torch.tensor(
                [row.sampling.top_p for row in rows if row is not None and row.sampling.top_p < 1],
                device=self._device,
            )
            scaled = scaled.index_copy(0, at, nucleus(scaled[at], shares))
        uniforms = [0.5 if row is None else next(row.uniforms) for row in rows]
        drawn, _ = draw(scaled, torch.tensor(uniforms, dtype=torch.float64, device=self._device))
        if best is None:
            return drawn
        return torch.where(torch.tensor(is_greedy, device=self._device), best, drawn)

    def _told(self, logits: Tensor, tokens: Tensor) -> dict[int, Drawn]:
        """What the rows that ask for log-probabilities are told, by place."""
        asked = [
            (place, row.sampling.top_log_probs)
            for place, row in enumerate(self._rows)
            if row is not None and row.sampling.top_log_probs is not None
        ]
        if not asked:
            return {}
        at = torch.tensor([place for place, _ in asked], device=self._device)
        log_probs = logits[at].log_softmax(dim=1)
        drawn = tokens[at]
        own = log_probs.gather(1, drawn[:, None])[:, 0].tolist()
        best = log_probs.topk(min(max(count for _, count in asked), log_probs.shape[1]), dim=1)
        return {
            place: Drawn(token, log_prob, tuple(zip(names[:count], values[:count], strict=True)))
            for (place, count), token, log_prob, names, values in zip(
                asked, drawn.tolist(), own, best.indices.tolist(), best.values.tolist(), strict=True
            )
        }


def nucleus(logits: Tensor, top_p: Tensor) -> Tensor:
    """[B, V]: the logits, minus infinity outside the fewest tokens that have `top_p` [B] together.

    The likeliest token always stays. Of equally likely ones the first in the vocabulary go in first.
    """
    falling, order = logits.sort(dim=1, descending=True, stable=True)
    shares = falling.double().softmax(dim=1)
    before = shares.cumsum(dim=1) - shares
    is_out = before >= top_p[:, None].double()
    is_out[:, 0] = False
    return logits.masked_fill(is_out.gather(1, order.argsort(dim=1)), -torch.inf)


def _row_of(row: NewRow) -> _Row:
    return _Row(row.key, row.sampling, _uniforms_from(row.sampling.seed))


def _uniforms_from(seed: int) -> Iterator[float]:
    """The stream of `uniforms_of`, however long it gets."""
    source = generator(seed)
    while True:
        drawn = torch.rand(_UNIFORMS, generator=source, dtype=torch.float64, device="cpu")
        yield from drawn.tolist()

"""The shapes of answers, as the app's description of itself has them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Problem(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ProblemReply(BaseModel):
    """Every answer that is an error."""

    error: Problem


class Usage(BaseModel):
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Head(BaseModel):
    id: str
    created: int
    model: str
    system_fingerprint: str


class LikelyToken(BaseModel):
    """A token that could have stood there."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(LikelyToken):
    """A token of an answer."""

    top_logprobs: list[LikelyToken]


class ChatLogProbs(BaseModel):
    """Log-probabilities of an answer's tokens."""

    content: list[ChatToken]
    refusal: None


class ChatMessage(BaseModel):
    """An answer."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """One of the answers to a conversation."""

    index: int
    message: ChatMessage
    logprobs: ChatLogProbs | None
    finish_reason: Literal["stop", "length"]


class ChatReply(_Head):
    """`/v1/chat/completions`, not streamed."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage


class TextLogProbs(BaseModel):
    """Lists beside one another, one entry per token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(BaseModel):
    """One continuation of a text."""

    index: int
    text: str
    logprobs: TextLogProbs | None
    finish_reason: Literal["stop", "length"]


class TextReply(_Head):
    """`/v1/completions`, not streamed."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage


class Score(BaseModel):
    """The score of one answer."""

    index: int
    score: float


class ScoreReply(BaseModel):
    """`/v1/score`."""

    object: Literal["list"]
    model: str
    data: list[Score]
    usage: Usage


class Model(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: Literal["policy", "reward-model"]


class ModelList(BaseModel):
    """`/v1/models`."""

    object: Literal["list"]
    data: list[Model]


class ModelHealth(BaseModel):
    """How one model is."""

    id: str
    is_alive: bool
    rows: int
    waiting: int


class Health(BaseModel):
    """`/health`."""

    status: Literal["ok", "failing"]
    models: list[ModelHealth]


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ProblemReply, "description": "The request is refused."},
    "5XX": {"model": ProblemReply, "description": "The request could not be answered."},
}
"""Of every route."""
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""Of routes that can stream."""

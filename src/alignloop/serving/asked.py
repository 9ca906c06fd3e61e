"""What requests may say: OpenAI's parameters, closed. Unsupported ones are accepted where they change nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

UNSUPPORTED = frozenset(
    "audio best_of frequency_penalty function_call functions logit_bias metadata modalities parallel_tool_calls "
    "prediction presence_penalty reasoning_effort response_format service_tier store suffix tool_choice tools "
    "verbosity web_search_options".split()
)
"""Parameters that a request may have at their neutral value alone."""

MOST_CHOICES = 128
"""Answers to one prompt, as OpenAI bounds them; a server's --max-rows may be less."""

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Text = Annotated[str, Field(max_length=2_000_000)]
_Stop = Annotated[str, Field(min_length=1, max_length=500)]
_Zero = Annotated[float, Field(ge=0, le=0)]
_Nothing = Annotated[dict[str, float], Field(max_length=0)]
_NoTools = Annotated[list[str], Field(max_length=0)]
_Token = Annotated[int, Field(ge=0, lt=1 << 31)]
_Count = Annotated[int, Field(ge=0, le=1 << 30)]
_Some = Annotated[int, Field(ge=1, le=1 << 30)]


class Asked(BaseModel):
    """Base of all requests: unknown parameters are refused, and a number is no text."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class TextPart(Asked):
    """A part of a message; other kinds than text are not supported."""

    type: Literal["text"]
    text: _Text


class Message(Asked):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who said it; `developer` is the same as `system`."""
    content: _Text | list[TextPart]
    """What was said; parts are put together."""
    name: None = None
    refusal: None = None
    annotations: _NoTools | None = None
    audio: None = None
    function_call: None = None
    tool_calls: _NoTools | None = None

    @property
    def text(self) -> str:
        """What was said."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(Asked):
    """More about a stream."""

    include_usage: bool | None = None
    """Whether a last chunk tells how many tokens there were."""
    include_obfuscation: Literal[False] | None = None


class PlainText(Asked):
    """The format that an answer has without any being asked for."""

    type: Literal["text"]


class _Drawing(Asked):
    """How answers are drawn."""

    model: _Name
    """Name of a served policy."""
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = 1
    """Answers per prompt."""
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    """Repeats an answer; without it every answer is new."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    """Divides the logits; 0 takes the likeliest token at each step."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = 1.0
    """Draw from the fewest tokens that have this probability together."""
    stop: _Stop | Annotated[list[_Stop], Field(max_length=16)] | None = None
    """Texts that end an answer, and are not part of it; up to 16, as harnesses send more than OpenAI's 4."""
    stream: bool | None = False
    """Whether the answer is sent as server-sent events, as it is written."""
    stream_options: StreamOptions | None = None
    user: _Text | None = None
    """Accepted and not kept."""
    frequency_penalty: _Zero | None = None
    presence_penalty: _Zero | None = None
    logit_bias: _Nothing | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop sequences."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatAsked(_Drawing):
    """`/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=2000)]
    """The conversation: `system` or not, then user and assistant in turn, the user last."""
    max_completion_tokens: _Some | None = None
    """Longest answer in tokens, its end among them; as many as fit without it."""
    max_tokens: _Some | None = None
    """The older name of the same."""
    logprobs: bool | None = False
    """Whether to tell the log-probability of every token."""
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """How many of the likeliest tokens to tell at every place; needs `logprobs`."""
    audio: None = None
    function_call: Literal["none", "auto"] | None = None
    functions: _NoTools | None = None
    metadata: _Nothing | None = None
    modalities: list[Literal["text"]] | None = None
    parallel_tool_calls: bool | None = None
    prediction: None = None
    prompt_cache_key: _Text | None = None
    reasoning_effort: Literal["none"] | None = None
    response_format: PlainText | None = None
    safety_identifier: _Text | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    tools: _NoTools | None = None
    verbosity: Literal["medium"] | None = None
    web_search_options: None = None


class CompletionAsked(_Drawing):
    """`/v1/completions`."""

    prompt: (
        _Text
        | Annotated[list[_Text], Field(min_length=1, max_length=2048)]
        | Annotated[list[_Token], Field(min_length=1)]
        | Annotated[
            list[Annotated[list[_Token], Field(min_length=1)]],
            Field(min_length=1, max_length=2048),
        ]
        | None
    ) = None
    """A text, several, the tokens of one, or of several; nothing at all is the beginning of a document."""
    max_tokens: _Count | None = 16
    """Longest continuation in tokens; 0 with `echo` scores the prompt alone."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """Tell the log-probability of every token, and of so many of the likeliest beside it."""
    echo: bool | None = False
    """Whether the prompt is part of the answer's text, and of its log-probabilities."""
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: Literal[""] | None = None

    def prompts(self) -> list[str | list[int]]:
        """Each by itself; a text or its tokens."""
        given = self.prompt
        if given is None or isinstance(given, str):
            return [given or ""]
        if isinstance(given[0], int):
            return [[token for token in given if isinstance(token, int)]]
        return [one for one in given if not isinstance(one, int)]


class ScoreAsked(Asked):
    """`/v1/score`: a prompt or a conversation, and answers to it."""

    model: _Name
    """Name of a served reward model."""
    prompt: _Text | None = None
    """An instruction; or `messages` in its place."""
    messages: Annotated[list[Message], Field(min_length=1, max_length=2000)] | None = None
    """A conversation that ends with the user's message."""
    responses: Annotated[list[_Text], Field(min_length=1, max_length=256)]
    """Answers, each taken to have ended by itself."""


class EmbeddingsAsked(BaseModel):
    """`/v1/embeddings`, which is refused whatever it says."""

    model_config = ConfigDict(extra="allow")

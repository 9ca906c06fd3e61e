"""What a Prometheus server is told: requests, tokens, queues, batches and times. Every app has figures of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """The figures of one app."""

    def __init__(self) -> None:
        """All of them at 0."""
        self._registry = CollectorRegistry()
        of = {"namespace": "alignloop", "registry": self._registry}
        self._requests = Counter("requests", "Requests answered.", ["route", "status"], **of)
        self._turns = Counter("page_turns", "Turns on the chat page.", ["kind"], **of)
        self._unkept = Counter(
            "page_not_kept", "What users agreed to, and the database did not take.", ["kind"], **of
        )
        self._tokens = Counter("tokens", "Tokens read and written.", ["model", "kind"], **of)
        self._waiting = Gauge("queue", "Prompts that wait.", ["model"], **of)
        self._rows = Gauge("batch_rows", "Answers that are being written.", ["model"], **of)
        self._first = Histogram(
            "time_to_first_token_seconds",
            "From a request's arrival to its first token, waiting included.",
            ["model"],
            buckets=_SECONDS,
            **of,
        )
        self._steps = Histogram(
            "decode_seconds",
            "One token for every answer of the batch, prompts that join it included.",
            ["model"],
            buckets=_STEP_SECONDS,
            **of,
        )

    def answered(self, route: str, status: int) -> None:
        """A request was answered, or its answer was begun."""
        self._requests.labels(route, str(status)).inc()

    def turned(self, kind: str) -> None:
        """Somebody did something on the chat page: `say`, `edit`, `again`, `choose`."""
        self._turns.labels(kind).inc()

    def unkept(self, kind: str) -> None:
        """Something that a user of the chat page agreed to could not be kept: a `message`, a `choice`."""
        self._unkept.labels(kind).inc()

    def of_model(self, name: str) -> ModelMetrics:
        """The figures of one model."""
        return ModelMetrics(
            self._tokens.labels(name, "prompt"),
            self._tokens.labels(name, "completion"),
            self._waiting.labels(name),
            self._rows.labels(name),
            self._first.labels(name),
            self._steps.labels(name),
        )

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


class ModelMetrics:
    """The figures of one model; its thread writes them."""

    def __init__(
        self,
        prompt: Counter,
        completion: Counter,
        waiting: Gauge,
        rows: Gauge,
        first: Histogram,
        steps: Histogram,
    ) -> None:
        """See `Metrics.of_model`."""
        self._prompt, self._completion = prompt, completion
        self._waiting, self._rows, self._first, self._steps = waiting, rows, first, steps

    def read(self, tokens: int) -> None:
        """So many tokens of prompts were read."""
        self._prompt.inc(tokens)

    def wrote(self, tokens: int) -> None:
        """So many tokens were drawn."""
        self._completion.inc(tokens)

    def load(self, *, rows: int, waiting: int) -> None:
        """How much there is to do."""
        self._rows.set(rows)
        self._waiting.set(waiting)

    def began(self, seconds: float) -> None:
        """An answer has its first token, so long after it was asked for."""
        self._first.observe(seconds)

    def stepped(self, seconds: float) -> None:
        """Every answer got a token, which took so long."""
        self._steps.observe(seconds)

"""The app: OpenAI's addresses over the models of a service, every one of them behind the guard."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from alignloop import __version__
from alignloop.data.records import Prompt
from alignloop.serving import chat, completions
from alignloop.serving.asked import (
    UNSUPPORTED,
    ChatAsked,
    CompletionAsked,
    EmbeddingsAsked,
    ScoreAsked,
)
from alignloop.serving.guard import Access, Guard
from alignloop.serving.policy import PolicyWorker, conversation
from alignloop.serving.problems import GONE, ApiProblem, problem_of
from alignloop.serving.replies import (
    ERRORS,
    EVENTS,
    ChatReply,
    Health,
    Model,
    ModelHealth,
    ModelList,
    Score,
    ScoreReply,
    TextReply,
    Usage,
)
from alignloop.serving.reward import ScoreJob
from alignloop.serving.service import Service
from alignloop.serving.streams import ClientGone, as_json, while_connected
from alignloop.serving.worker import Inbox

ROUTES = frozenset(
    "/v1/chat/completions /v1/completions /v1/score /v1/embeddings /v1/models /health /metrics".split()
)


def create_app(service: Service, access: Access) -> FastAPI:
    """The app over a service whose workers run."""
    app = _Api(
        title="alignloop serve",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.service, app.access = service, access
    _add_models(app, service)
    _add_health(app, service)

    @app.post("/v1/chat/completions", response_model=ChatReply, responses={**ERRORS, **EVENTS})
    async def answer(request: Request, asked: ChatAsked) -> Response:
        """Answer a conversation."""
        return await chat.answer(service, request, asked)

    @app.post("/v1/completions", response_model=TextReply, responses={**ERRORS, **EVENTS})
    async def complete(request: Request, asked: CompletionAsked) -> Response:
        """Continue a text, or say how likely it is."""
        return await completions.complete(service, request, asked)

    @app.post("/v1/score", response_model=ScoreReply, responses=ERRORS)
    async def score(request: Request, asked: ScoreAsked) -> Response:
        """Score answers to a prompt by a reward model."""
        return await _scores(service, request, asked)

    @app.post("/v1/embeddings", responses=ERRORS)
    async def embed(asked: EmbeddingsAsked) -> Response:
        """Refused: there are no models here that make embeddings."""
        del asked
        raise ApiProblem(
            400,
            "these models make no embeddings: they answer (/v1/chat/completions), continue texts (/v1/completions) or "
            "score answers (/v1/score)",
            code="unsupported",
        )

    _handle_problems(app)
    return app


class _Api(FastAPI):
    """An app inside its guard, the handler of bugs too."""

    service: Service
    access: Access

    def build_middleware_stack(self) -> ASGIApp:
        """All of it."""
        service = self.service
        inner = super().build_middleware_stack()
        return Guard(inner, self.access, service.metrics, service.wall, ROUTES)


def _add_models(app: FastAPI, service: Service) -> None:
    def described(name: str) -> Model:
        is_policy = isinstance(service.worker(name), PolicyWorker)
        return Model(
            id=name,
            object="model",
            created=service.created,
            owned_by="alignloop",
            kind="policy" if is_policy else "reward-model",
        )

    @app.get("/v1/models", responses=ERRORS)
    async def models() -> ModelList:
        """Every model."""
        return ModelList(object="list", data=[described(name) for name in service.workers])

    @app.get("/v1/models/{name}", responses=ERRORS)
    async def model(name: str) -> Model:
        """One model."""
        return described(name)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """Whether every model can be asked."""
        found = [
            ModelHealth(id=name, is_alive=one.is_alive, rows=one.rows, waiting=one.waiting)
            for name, one in service.workers.items()
        ]
        is_well = all(one.is_alive for one in found)
        told = Health(status="ok" if is_well else "failing", models=found)
        return _json(told.model_dump(), 200 if is_well else 503)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={**ERRORS, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(
            service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


async def _scores(service: Service, request: Request, asked: ScoreAsked) -> Response:
    worker = service.reward(asked.model)
    if (asked.prompt is None) == (asked.messages is None):
        raise ApiProblem(400, "give either 'prompt' or 'messages'", parameter="prompt")
    arrived = service.clock()
    if asked.messages is None:
        prompt = Prompt(id="request", text=asked.prompt or "")
    else:
        prompt = conversation([(message.role, message.text) for message in asked.messages])
    job = ScoreJob(
        number=0,
        inbox=Inbox(),
        size=len(asked.responses),
        arrived=arrived,
        deadline=arrived + service.limits.timeout,
        prompt=prompt,
        responses=tuple(asked.responses),
    )
    worker.submit([job])
    try:
        _, scored = await while_connected(request.receive, job.inbox.get())
    finally:
        worker.cancel([job])
    usage = Usage(
        prompt_tokens=scored.prompt_tokens + scored.response_tokens,
        completion_tokens=0,
        total_tokens=scored.prompt_tokens + scored.response_tokens,
    )
    data = [Score(index=number, score=one) for number, one in enumerate(scored.scores)]
    reply = ScoreReply(object="list", model=asked.model, data=data, usage=usage)
    return _json(reply.model_dump())


def _json(value: Any, status: int = 200) -> Response:
    return Response(as_json(value), status_code=status, media_type="application/json")


def _handle_problems(app: FastAPI) -> None:
    """Every error in the shape that OpenAI's clients read."""

    @app.exception_handler(ApiProblem)
    async def refused(request: Request, error: ApiProblem) -> Response:
        del request
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        del request
        return problem_of(error.errors(), UNSUPPORTED).response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        said = {
            404: f"there is no {request.url.path} here",
            405: f"{request.url.path} does not take {request.method}",
        }
        response = ApiProblem(
            error.status_code, said.get(error.status_code, str(error.detail))
        ).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientGone)
    async def gone(request: Request, error: ClientGone) -> Response:
        del request, error
        return Response(status_code=GONE)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        del request, error
        return ApiProblem(500, "an error of the server's; its log says more").response()

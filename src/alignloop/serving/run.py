"""`alignloop serve`: models read, checked and served, on loopback unless told otherwise."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from alignloop.errors import ConfigError
from alignloop.runs.artifact import model_kind
from alignloop.serving.app import create_app
from alignloop.serving.guard import Access, read_keys
from alignloop.serving.page.access import Site
from alignloop.serving.page.app import Front, create_page
from alignloop.serving.page.keeping import Keeping
from alignloop.serving.policy import PolicyWorker, ServedPolicy
from alignloop.serving.reward import ServedReward
from alignloop.serving.service import Limits, Service
from alignloop.store.project import open_project
from alignloop.web.limits import RateLimit
from alignloop.web.listening import (
    LOCAL_NAMES,
    address_shown,
    is_loopback,
    listen,
    run_until_signal,
)
from alignloop.web.security import Origins, host_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_GRACE_S = 30
_CONNECTIONS = 2000
_TURNS = 30
"""Answers that an address may ask the chat page for in a minute, where --rate-limit says nothing."""


@dataclass(frozen=True, slots=True)
class PageWanted:
    """The chat page, as somebody wants it."""

    project: Path | None = None
    """Folder of the project that what users agree to is kept in; without one nothing is."""
    database: str | None = None
    """URL of a PostgreSQL database, for a project that begins with it."""
    side_by_side: float = 0.0
    """Chance that a message gets two answers to choose from."""
    notice_days: int = 30
    """After so many days the notice is shown in full again."""
    allowed_hosts: Sequence[str] = ()
    """Names under which browsers may ask, beside the address."""


def serve(
    models: Sequence[str],
    *,
    host: str,
    port: int,
    public: bool,
    api_key_file: Path | None,
    rate_limit: int | None,
    single_turn: bool,
    limits: Limits,
    say: Callable[[str], None],
    behind_tls: bool = False,
    page: PageWanted | None = None,
) -> int:
    """Serve until a signal; returns the exit status.

    Args:
        models: `PATH` or `NAME=PATH` of policies and reward models.
        port: 0 takes a free one.
        public: that somebody said so: without it, addresses beyond this machine are refused.
        rate_limit: requests in a minute, per API key or address.
        single_turn: policies read the last message alone.
        behind_tls: whether a proxy with TLS stands in front, on this machine: limits by address count whom it asks for,
            and the page's cookies and headers are strict.
        page: the chat page beside the API; none where it is None.
        say: gets the lines for the terminal.

    Raises:
        ConfigError: the address is beyond this machine and nobody said so, it is taken, two models have one name, or
            the key file is unusable; or there is no policy for the chat page to talk to.
        ArtifactError, ModelError: a model cannot be served.
        StoreError: the project's store cannot be opened.
    """
    if not is_loopback(host) and not public:
        raise ConfigError(
            f"{host} is beyond this machine: say --public if that is meant, with --api-key-file, and put a proxy with "
            "TLS before it, or prompts and keys cross the network as they are"
        )
    keys = () if api_key_file is None else read_keys(api_key_file)
    access = Access(
        keys,
        hosts=None if keys or public else _own_names(host),
        limit=None if rate_limit is None else RateLimit(rate_limit, 60),
        behind_tls=behind_tls,
    )
    named = named_models(models)
    with closing(listen(host, port)) as listening:
        loaded = [load(name, path, single_turn=single_turn) for name, path in named.items()]
        service = Service.of(loaded, limits)
        service.start()
        try:
            address = address_shown(host, listening)
            say(f"Serving {', '.join(named)} at {address}/v1  (Ctrl-C stops)")
            if public and not keys:
                say("There are no API keys: whoever reaches this address can use it.")
            say(f"  {_example(service, address, has_keys=bool(keys))}")
            with ExitStack() as opened:
                app: ASGIApp = create_app(service, access)
                if page is not None:
                    aliases = LOCAL_NAMES if is_loopback(host) else ()
                    hosts = [host, *aliases, *page.allowed_hosts]
                    origins = Origins.of(hosts, behind_tls=behind_tls)
                    site = _site(service, origins, page, rate_limit, opened, say)
                    app = Front(app, create_page(site), service.metrics)
                    kept = f"; who agrees is kept in {page.project}" if page.project else ""
                    say(f"Chat page at {address}/{kept}")
                number = run_until_signal(
                    app,
                    listening,
                    grace=_GRACE_S,
                    connections=_CONNECTIONS,
                    has_lifespan=page is not None,
                )
        finally:
            service.stop()
    return 128 + (number or signal.SIGTERM)


def _site(
    service: Service,
    origins: Origins,
    page: PageWanted,
    rate_limit: int | None,
    opened: ExitStack,
    say: Callable[[str], None],
) -> Site:
    """What the chat page works on; its store is closed with `opened`."""
    keeping = None
    if page.project is not None:
        project = open_project(page.project, page.database)
        is_new = not project.is_begun
        store = project.open()
        opened.callback(store.close)
        if is_new:
            say(f"There was no project in {page.project.resolve()}: a new one was begun there.")
        keeping = Keeping(store, service.metrics.unkept)
    site = Site(
        service,
        origins,
        keeping,
        side_by_side=page.side_by_side,
        notice_days=page.notice_days,
        turns=RateLimit(rate_limit or _TURNS, 60),
    )
    if not site.models:
        raise ConfigError("--page needs a policy to talk to, and only reward models are served")
    return site


def named_models(models: Sequence[str]) -> dict[str, Path]:
    """Folders by the names that requests call them.

    Args:
        models: `NAME=PATH`, or `PATH`, whose last part is the name.

    Raises:
        ConfigError: a name is given twice, or is none.
    """
    found: dict[str, Path] = {}
    for model in models:
        name, separator, path = model.partition("=")
        if not separator or "/" in name:
            name, path = Path(model).resolve().name, model
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"'{name}' cannot be the name of a model (letters, digits, '.', '_', ':', '-'); write NAME=PATH"
            )
        if name in found:
            raise ConfigError(f"two models are called '{name}'; write NAME=PATH for one of them")
        found[name] = Path(path)
    return found


def load(name: str, path: Path, *, single_turn: bool) -> ServedPolicy | ServedReward:
    """A model by what its folder holds.

    Raises:
        ArtifactError, ModelError: it cannot be served.
    """
    if model_kind(path) == "reward-model":
        return ServedReward.load(name, path)
    return ServedPolicy.load(name, path, remembers=not single_turn)


def _own_names(host: str) -> frozenset[str]:
    """What a browser may call a server on loopback: a page elsewhere could have a name of its own led here."""
    own = host_name(f"[{host}]" if ":" in host and "[" not in host else host.lower())
    return frozenset({*LOCAL_NAMES, own or host})


def _example(service: Service, address: str, *, has_keys: bool) -> str:
    """A line that asks the first model something."""
    name, worker = next(iter(service.workers.items()))
    key = " -H 'Authorization: Bearer KEY'" if has_keys else ""
    route, body = (
        ("chat/completions", {"messages": [{"role": "user", "content": "Once there was a fox."}]})
        if isinstance(worker, PolicyWorker)
        else ("score", {"prompt": "Tell me of a fox.", "responses": ["There was a fox."]})
    )
    said = json.dumps({"model": name, **body})
    return f"curl {address}/v1/{route}{key} -H 'Content-Type: application/json' -d '{said}'"

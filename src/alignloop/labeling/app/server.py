"""The app: every route behind its check, over one store."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.types import ASGIApp

from alignloop import __version__
from alignloop.labeling.app.access import Lab, Routes, handle_errors, install
from alignloop.labeling.app.paths import PATHS
from alignloop.labeling.app.render import FILES
from alignloop.labeling.app.routes import (
    account,
    campaigns,
    exports,
    gold,
    home,
    log,
    overview,
    people,
    prompts,
    quality,
    work,
)
from alignloop.web.security import Origins, SecurityMiddleware

ALL_ROUTES: tuple[Routes, ...] = (
    account.routes,
    home.routes,
    work.routes,
    prompts.routes,
    overview.routes,
    campaigns.routes,
    people.routes,
    gold.routes,
    quality.routes,
    exports.routes,
    log.routes,
)


def create_app(lab: Lab, routes: Iterable[Routes] = ALL_ROUTES) -> FastAPI:
    """The labeling app over a store; no page describes it to strangers."""
    app = _Labeling(
        title="alignloop labeling",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.origins = lab.origins
    for found in routes:
        install(app, lab, found)
    prefix = PATHS["static"].partition("{")[0] + FILES.version
    app.mount(prefix, FILES.app(), name="static")
    handle_errors(app, lab)
    return app


class _Labeling(FastAPI):
    """An app whose every response has passed our checks and has our headers, its errors' too."""

    origins: Origins

    def build_middleware_stack(self) -> ASGIApp:
        """All of it inside the checks; `add_middleware` would leave the handler of bugs outside."""
        return SecurityMiddleware(super().build_middleware_stack(), self.origins)

"""The app: every route behind its check, over one store."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from alignloop import __version__
from alignloop.labeling.app.access import LARGEST_FORM, Lab, Routes, handle_errors, install
from alignloop.labeling.app.paths import PATHS
from alignloop.labeling.app.render import STATIC, static_version
from alignloop.labeling.app.routes import (
    account,
    campaigns,
    exports,
    home,
    log,
    overview,
    people,
    prompts,
    quality,
    work,
)
from alignloop.web.security import SecurityMiddleware

ALL_ROUTES: tuple[Routes, ...] = (
    account.routes,
    home.routes,
    work.routes,
    prompts.routes,
    overview.routes,
    campaigns.routes,
    people.routes,
    quality.routes,
    exports.routes,
    log.routes,
)


def create_app(lab: Lab, routes: Iterable[Routes] = ALL_ROUTES) -> FastAPI:
    """The labeling app over a store; no page describes it to strangers."""
    app = FastAPI(
        title="alignloop labeling",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        max_body_size=LARGEST_FORM,
    )
    for found in routes:
        install(app, lab, found)
    prefix = PATHS["static"].partition("{")[0] + static_version()
    app.mount(prefix, _Cached(directory=STATIC), name="static")
    handle_errors(app, lab)
    app.add_middleware(SecurityMiddleware, origins=lab.origins)
    return app


class _Cached(StaticFiles):
    """Our own files; their address changes with their content, so a browser may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, to be kept for a year."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

"""What an API answers when it cannot do as it was asked, in the shape that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse

GONE = 499
"""Nobody reads it; the metrics count it, under the number that web servers use for this."""
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ApiProblem(Exception):
    """A request that is refused or failed, with the status that says so."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        parameter: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """A problem.

        Args:
            parameter: the request's field that is at fault.
            code: a word for programs.
            retry_after: seconds after which the same request may do.
        """
        super().__init__(message)
        self.status, self.message, self.parameter, self.code = status, message, parameter, code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The JSON that clients read."""
        kind = _KINDS.get(self.status, "server_error" if self.status >= 500 else _KINDS[400])
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.parameter,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The whole answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def problem_of(errors: Sequence[Any], unsupported: frozenset[str]) -> ApiProblem:
    """The first thing that is wrong with a request's body.

    Args:
        errors: what pydantic found.
        unsupported: parameters of OpenAI's that are accepted where they change nothing.
    """
    error = errors[0]
    place = [part for part in error["loc"] if part != "body"]
    name = str(place[0]) if place else None
    if error["type"] == "json_invalid":
        return ApiProblem(400, "the body is not JSON", code="invalid_json")
    if name is None or error["type"] == "model_attributes_type":
        return ApiProblem(400, "the body has to be a JSON object, sent as application/json")
    if name in unsupported:
        return ApiProblem(
            400,
            f"'{name}' is not supported by this server, other than at the value that changes nothing; leave it out",
            parameter=name,
            code="unsupported_parameter",
        )
    where = ".".join(str(part) for part in place[:3] if not str(part).endswith("]"))
    if error["type"] == "extra_forbidden":
        return ApiProblem(
            400, f"unknown parameter '{where}'", parameter=where, code="unknown_parameter"
        )
    if error["type"] == "missing":
        return ApiProblem(400, f"'{where}' is required", parameter=where)
    said = str(error["msg"]).removeprefix("Value error, ")
    return ApiProblem(400, f"'{where}': {said}", parameter=where)

"""TOML in, frozen and closed config objects out.

Every stage has one config class; a field's docstring is its documentation. Unknown keys are errors that name the
nearest known key, and `--set section.key=value` overrides one value.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from alignloop.errors import ConfigError

C = TypeVar("C", bound="Config")

Precision = Literal["float32", "bfloat16"]
"""Arithmetic of matrix products; weights, sums and the softmax are float32 either way."""


class Config(BaseModel):
    """Base of every config: frozen, closed, documented per field."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """A table that sets some keys keeps this config's defaults for the rest, not those of the table's class.

        TOML has no null: "none" stands for it where a field may be absent.
        """
        if not isinstance(values, dict):
            return values
        filled = dict(cast(dict[str, Any], values))
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Config) and isinstance(filled.get(name), dict):
                filled[name] = field.default.model_dump() | filled[name]
            elif filled.get(name) == "none" and type(None) in get_args(field.annotation):
                filled[name] = None
        return filled

    def as_json(self) -> str:
        """The fully resolved config, one key per line, in field order."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def load_config(
    config_class: type[C], path: Path | None = None, overrides: Iterable[str] = ()
) -> C:
    """Read `path` (TOML, or a run's own config.json), apply `a.b=value` overrides, and check everything.

    Raises:
        ConfigError: the file is missing or malformed, or a key or value is not allowed.
    """
    values: dict[str, Any] = {} if path is None else _read(path)
    origin = "the defaults" if path is None else str(path)
    for override in overrides:
        _apply(values, override)
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(config_class, error)}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(
            f"{path}: not valid {path.suffix.lstrip('.') or 'TOML'}: {error}"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a config is a table of keys, not a {type(values).__name__}")
    return cast(dict[str, Any], values)


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value is read as TOML, and as a plain string where that fails."""
    key, separator, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"--set {override}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table: dict[str, Any] = values
    for part in parts[:-1]:
        inner: Any = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: '{part}' is a value, not a section")
        table = cast(dict[str, Any], inner)
    table[parts[-1]] = value


def _explain(config_class: type[Config], error: ValidationError) -> str:
    """All problems of one config on one line, unknown keys with the nearest known one."""
    problems: list[str] = []
    for detail in error.errors():
        location = ".".join(str(part) for part in detail["loc"]) or "config"
        if detail["type"] == "extra_forbidden":
            known = _fields_at(config_class, detail["loc"][:-1])
            close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
            advice = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            problems.append(f"unknown key '{location}'; {advice}")
        elif detail["type"] == "missing":
            problems.append(f"'{location}' is required")
        else:
            message = detail["msg"].removeprefix("Value error, ")
            given = (
                ""
                if isinstance(detail.get("input"), dict)
                else f" (given: {detail.get('input')!r})"
            )
            problems.append(f"'{location}': {message}{given}")
    return "; ".join(problems)


def _fields_at(config_class: type[Config], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the (possibly nested) config class at `location`."""
    current: Any = config_class
    for part in location:
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        nested = [a for a in (field.annotation, *get_args(field.annotation)) if _is_config(a)]
        if nested:
            current = nested[0]
    return sorted(current.model_fields)


def _is_config(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Config)

"""Cookies of both web apps: names that browsers bind to one host."""

from __future__ import annotations


def bound_name(name: str, *, behind_tls: bool) -> str:
    """Behind TLS, a name that browsers bind to this host alone: no other host of the domain can set it."""
    return f"__Host-{name}" if behind_tls else name

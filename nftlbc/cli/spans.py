"""Spans of time on the command line: ``500ms``, ``2s``, ``10m``, ``1h30m``."""

from __future__ import annotations

import re

import typer

_SPAN = re.compile(r"(?:\d{1,9}(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+)(ms|[smhd])", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds(option: str, text: str, least: float = 0.05, most: float = 86_400.0) -> float:
    """Ends with 2 where it is no span, or one out of bounds (in seconds)."""
    if not _SPAN.fullmatch(text):
        raise typer.BadParameter(f"times are 500ms, 2s, 1h30m; not {text!r}", param_hint=option)
    found = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not least <= found <= most:
        bounds = f"from {_told(least)} to {_told(most)}"
        raise typer.BadParameter(f"it takes {bounds}, not {text}", param_hint=option)
    return found


def _told(span: float) -> str:
    if span < 1:
        return f"{span * 1000:.0f}ms"
    unit = next(unit for unit in "dhms" if span % _UNITS[unit] == 0 or unit == "s")
    return f"{span / _UNITS[unit]:.0f}{unit}"

"""Figures as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Three digits and a unit: `12.3 ms`."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size * 0.9995:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds * 1e6)} µs"


def digits(value: float) -> str:
    """About three digits that mean something: `0.123`, `12.3`, `1,234`."""
    if value >= 99.95 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"

"""Numbers as text for people."""

from __future__ import annotations

import math


def digits(value: float) -> str:
    """Returns a number with about three significant digits: `0.12`, `12.3`, `1,234`."""
    if value >= 99.95 or value < 0.005:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Returns a duration with about three significant digits and a unit: `12.3 ms`."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size * 0.9995:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds * 1e6)} µs"


def memory(size: float) -> str:
    """Returns a number of bytes with a binary unit, as in Kubernetes and nvidia-smi: `96 MiB`, `70.4 GiB`."""
    for scale, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if size >= scale * 0.9995:
            return f"{float(f'{size / scale:.3g}'):,g} {unit}"
    return f"{float(f'{size / 2**10:.3g}'):,g} KiB"


def ticks(seconds: float, most: int = 6) -> list[float]:
    """Returns round moments of an axis from 0 to `seconds`, at most `most` steps."""
    power = 10.0 ** math.floor(math.log10(seconds / most))
    step = next(power * digit for digit in (1, 2, 5, 10, 20) if seconds / (power * digit) <= most)
    return [step * number for number in range(math.floor(seconds / step + 1e-9) + 1)]


def tick_label(seconds: float, step: float) -> str:
    """Returns a moment of an axis, with as many decimals as its step needs."""
    unit, name = next((u, n) for u, n in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if step >= 0.1 * u or n == "µs")
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return f"{seconds / unit:.{decimals}f} {name}" if seconds else "0"

"""The result of a load as a user has it: its figures, its plot, and its comparison with another result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dynamo_nb.drawing.mimebundle import image
from dynamo_nb.observe.measurement import NAMES, Measurement
from dynamo_nb.observe.plot import svg
from dynamo_nb.observe.units import digits, duration


@dataclass(frozen=True, repr=False)
class BenchResult(Measurement):
    """The measurements of a load, shown as a plot or a table.

    Example:
        >>> before = await deployment.bench(deployment.Backend.generate("hello"), concurrency=8)
        >>> await deployment.scale(Backend=4)
        >>> after = await deployment.bench(deployment.Backend.generate("hello"), concurrency=8)
        >>> (after / before).ratios["rate"]
    """

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures as data for JSON."""
        return asdict(self)

    def __truediv__(self, before: BenchResult) -> Comparison:
        """Returns the comparison with an earlier result: `after / before`."""
        return Comparison(before, self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), **image(svg(self), f"{self.heading}: {self.line}")}


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two results of the same kind of load."""

    before: BenchResult
    after: BenchResult

    @property
    def ratios(self) -> dict[str, float]:
        """Figure to the later value divided by the earlier one.

        A figure is left out if one of the results does not have it, or if the earlier value is 0.
        """
        return {name: after / before for name, (before, after) in self._pairs().items() if before}

    def as_dict(self) -> dict[str, Any]:
        """Returns both results and the ratios as data for JSON."""
        return {"before": self.before.as_dict(), "after": self.after.as_dict(), "ratios": self.ratios}

    def _pairs(self) -> dict[str, tuple[float, float]]:
        pairs = {"rate": (self.before.rate, self.after.rate)}
        if self.before.items and self.after.items:
            pairs["item_rate"] = self.before.item_rate, self.after.item_rate
        for name in ("latency", "first_item", "between_items"):
            one, other = getattr(self.before, name), getattr(self.after, name)
            if one is not None and other is not None:
                figures = zip(NAMES, one.figures, other.figures, strict=True)
                pairs |= {p if name == "latency" else f"{name} {p}": (a, b) for p, a, b in figures}
        return pairs

    def __str__(self) -> str:
        lines = [f"{self.after.heading}\ncompared to {self.before.heading}"]
        lines.append(f"  {'':<20}{'before':>12}{'after':>12}{'ratio':>10}")
        for name, values in self._pairs().items():
            shown = [f"{digits(x)}/s" if name.endswith("rate") else duration(x) for x in values]
            ratio = f"{values[1] / values[0]:.2f}" if values[0] else ""
            lines.append(f"  {name.replace('_', ' '):<20}{shown[0]:>12}{shown[1]:>12}{ratio:>10}")
        lines.append(f"  {'errors':<20}{self.before.failed:>12,}{self.after.failed:>12,}")
        return "\n".join(lines)

    __repr__ = __str__

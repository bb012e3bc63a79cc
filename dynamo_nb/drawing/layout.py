"""The positions in a drawing of a graph, as plain data: what `layered_layout` computes and `svg` draws."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]
Size = tuple[float, float]

DENSE = 60
"""A drawing with more edges has no labels: they would take more space than the services."""


@dataclass(frozen=True)
class Group:
    """Boxes inside one frame. members: their indices. label: its width and height in pixels."""

    members: tuple[int, ...]
    label: Size


@dataclass(frozen=True)
class Route:
    """The path of an edge: start and control points of its Bézier curves, the arrow's tip, the centre of its label."""

    points: tuple[Point, ...]
    tip: Point
    label: Point | None


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, routes of the edges, frames (left, top, right, bottom) of the groups; y grows downwards."""

    size: Size
    centres: tuple[Point, ...]
    routes: tuple[Route, ...]
    frames: tuple[tuple[float, float, float, float], ...]

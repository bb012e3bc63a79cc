"""Differences between two versions of the code of a service."""

from __future__ import annotations

import ast
from functools import lru_cache

from dynamo_nb.source.code_tree import CodeTree


def changed_names(before: CodeTree, after: CodeTree, service: str) -> list[str]:
    """Returns the top-level names in the code of a service whose definitions differ, without imports.

    Args:
        before: The earlier code.
        after: The later code.
        service: The service. Both trees have it.
    """
    old, new = _definitions(before, service), _definitions(after, service)
    return [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]


def _definitions(code: CodeTree, service: str) -> dict[str, list[str]]:
    modules = {module.name: module for module in code.modules}
    found: dict[str, list[str]] = {}
    for name in code.closures.get(service, ()):
        for bound, text in _of_module(modules[name].text):
            found.setdefault(bound, []).append(text)
    return {name: sorted(texts) for name, texts in found.items()}


@lru_cache(maxsize=512)
def _of_module(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.name, ast.unparse(node)))
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
            found += [(name, ast.unparse(node)) for name in names]
    return tuple(found)

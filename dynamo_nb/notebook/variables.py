"""The variables of a notebook, and which of them are services."""

from __future__ import annotations

import re
from typing import Any

from dynamo_nb.errors import TargetError, suggestion
from dynamo_nb.sdk.definition import definition_of, is_service

_OUTPUT = re.compile(r"_+\d*")
"""The variables in which IPython stores the outputs of cells, such as `_4`."""


class Variables:
    """The global variables of one IPython shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    @property
    def namespace(self) -> dict[str, Any]:
        """All variables by name. Changes take effect in the notebook."""
        return self._shell.user_ns  # type: ignore[no-any-return]

    @property
    def services(self) -> dict[str, type]:
        """The variables that hold services, without those that IPython assigns to outputs."""
        return {n: v for n, v in self.namespace.items() if is_service(v) and not _OUTPUT.fullmatch(n)}

    def service(self, variable: str) -> type:
        """Returns the service in a variable. Raises TargetError if there is none."""
        value: Any = self.namespace.get(variable)
        if not is_service(value):
            raise TargetError(f"this notebook has no service {variable!r}", remedy=suggestion(variable, self.services))
        return value  # type: ignore[no-any-return]

    def variable_of_service(self, name: str) -> str:
        """Returns the variable that holds the service with this name. Raises TargetError if there is none."""
        for variable, value in self.namespace.items():
            if is_service(value) and definition_of(value).name == name and not variable.startswith("_"):
                return variable
        raise TargetError(f"this notebook has no service {name!r}", remedy="run the cell that defines it")

    def variable_of(self, value: object, default: str) -> str:
        """Returns the first public variable that holds this object, or the default."""
        return next((n for n, v in self.namespace.items() if v is value and not n.startswith("_")), default)

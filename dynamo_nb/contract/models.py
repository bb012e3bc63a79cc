"""Message models: fields and constructors of pydantic models, dataclasses, msgspec structs and NamedTuples."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import cached_property, lru_cache
from inspect import Parameter

from dynamo_nb.contract.classes import ClassIn
from dynamo_nb.source.interface import decorator_name

PYDANTIC, STRUCT, DATACLASS, TUPLE = "pydantic", "struct", "dataclass", "tuple"
_BASES = {
    "pydantic.BaseModel": PYDANTIC,
    "pydantic.main.BaseModel": PYDANTIC,
    "msgspec.Struct": STRUCT,
    "typing.NamedTuple": TUPLE,
}
_PLAIN_BASES = {"abc.ABC", "builtins.object", "typing.Generic"}
_DYNAMIC = {"__init__", "__new__", "__getattr__", "__getattribute__", "__setattr__", "__post_init__"}
"""Methods by which a class may accept other arguments, or have more attributes, than its fields."""
_VALIDATORS = {"model_validator", "root_validator"}
_SAFE_KEYWORDS = {"frozen", "kw_only", "slots", "eq", "order", "gc", "array_like", "omit_defaults", "tag", "cache_hash"}
_SAFE_CONFIG = {"frozen", "extra", "arbitrary_types_allowed", "title", "protected_namespaces", "strict"}


@dataclass(frozen=True)
class Field:
    """A field of a model.

    Attributes:
        name: Its name.
        annotation: Its annotation.
        required: True if it has no default.
        named: True if it cannot be passed by position.
        owner: The class that declares it.
    """

    name: str
    annotation: ast.expr
    required: bool
    named: bool
    owner: ClassIn


@dataclass(frozen=True, eq=False)
class Model:
    """A message model.

    Attributes:
        cls: The class.
        kind: PYDANTIC, STRUCT, DATACLASS or TUPLE.
        fields: The fields by name, in order.
        constructible: True if its constructor accepts no other arguments than `signature`.
        readable: True if it has no other attributes than `attributes`.
        forbids: True for a pydantic model that refuses unknown fields.
    """

    cls: ClassIn
    kind: str
    fields: dict[str, Field]
    constructible: bool
    readable: bool
    forbids: bool

    @property
    def name(self) -> str:
        return self.cls.name

    @cached_property
    def attributes(self) -> frozenset[str]:
        """The names of the attributes of an instance."""
        found = {*self.fields, *dir(object), "__dict__"}
        for one in self.cls.lineage():
            for node in ast.walk(one.node):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
        if self.kind == PYDANTIC:
            from pydantic import BaseModel

            found |= {*dir(BaseModel), "model_fields_set", "model_extra"}
        elif self.kind == STRUCT:
            import msgspec

            found |= {*dir(msgspec.Struct)}
        elif self.kind == TUPLE:
            found |= {*dir(tuple), "_asdict", "_replace", "_fields", "_field_defaults", "_make"}
        elif self.kind == DATACLASS:
            found |= {"__dataclass_fields__", "__match_args__"}
        return frozenset(found)

    @cached_property
    def signature(self) -> inspect.Signature | None:
        """The parameters of its constructor; None if they cannot be read."""
        by_name = self.kind == PYDANTIC
        kinds = {True: Parameter.KEYWORD_ONLY, False: Parameter.POSITIONAL_OR_KEYWORD}
        parameters = [
            Parameter(
                field.name,
                kinds[by_name or field.named],
                default=Parameter.empty if field.required else None,
                annotation=field.annotation,
            )
            for field in self.fields.values()
        ]
        parameters.sort(key=lambda one: one.kind)
        if by_name and not self.forbids:
            parameters.append(Parameter("ignored", Parameter.VAR_KEYWORD))
        try:
            return inspect.Signature(parameters)
        except ValueError:
            return None


@lru_cache(maxsize=2048)
def model_of(cls: ClassIn) -> Model | None:
    """Returns the message model of a class; None if the class is not a message model.

    Args:
        cls: The class.
    """
    kinds = {_BASES[root] for root in cls.roots if root in _BASES}
    if any(_is_dataclass(decorator, one) for one in cls.lineage() for decorator in one.node.decorator_list):
        kinds.add(DATACLASS)
    if len(kinds) != 1:
        return None
    return _Reader(cls, kinds.pop()).model()


def _is_dataclass(decorator: ast.expr, cls: ClassIn) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return cls.outside(called) == "dataclasses.dataclass"


class _Reader:
    def __init__(self, cls: ClassIn, kind: str) -> None:
        self.cls, self.kind = cls, kind
        self.fields: dict[str, Field] = {}
        self.constructible = self.readable = True
        self.forbids = False

    def model(self) -> Model:
        for one in reversed(list(self.cls.lineage())):
            self._class(one)
        unknown = self.cls.roots - set(_BASES) - _PLAIN_BASES
        if unknown:
            self.constructible = self.readable = False
        return Model(self.cls, self.kind, self.fields, self.constructible, self.readable, self.forbids)

    def _class(self, cls: ClassIn) -> None:
        node = cls.node
        for decorator in node.decorator_list:
            if not _is_dataclass(decorator, cls):
                self.constructible = self.readable = False
        decorators = [one for one in node.decorator_list if isinstance(one, ast.Call)]
        keywords = {one.arg: one.value for one in [*node.keywords, *(k for d in decorators for k in d.keywords)]}
        if "extra" in keywords and self.kind == PYDANTIC:
            self._extra(keywords.pop("extra"))
        if set(keywords) - _SAFE_KEYWORDS - {"forbid_unknown_fields", "rename"}:
            self.constructible = False
        named = _is_true(keywords.get("kw_only"))
        for one in node.body:
            self._member(one, cls, named=named)

    def _member(self, node: ast.stmt, cls: ClassIn, *, named: bool) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name in _DYNAMIC:
                self.constructible = self.readable = False
            if any(decorator_name(one, frozenset()) in _VALIDATORS for one in node.decorator_list):
                self.constructible = False
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            self._field(node, node.target.id, cls, named=named)
        elif isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "model_config" for one in node.targets):
            self._config(node.value)
        elif isinstance(node, ast.If | ast.For | ast.With | ast.Try | ast.While) or (
            isinstance(node, ast.ClassDef) and node.name == "Config"
        ):
            self.constructible = self.readable = False

    def _field(self, node: ast.AnnAssign, name: str, cls: ClassIn, *, named: bool) -> None:
        written = ast.unparse(node.annotation)
        if "ClassVar" in written or (self.kind == PYDANTIC and name.startswith("_")):
            return
        if "KW_ONLY" in written or "InitVar" in written or "alias" in written or "default" in written:
            self.constructible = False
        required, value = node.value is None, node.value
        if isinstance(value, ast.Constant) and value.value is Ellipsis:
            required = True
        elif isinstance(value, ast.Call):
            given = {one.arg for one in value.keywords}
            if given & {"alias", "validation_alias", "init", "init_var", "kw_only", None}:
                self.constructible = False
            first = value.args[0] if value.args else None
            absent = first is None or (isinstance(first, ast.Constant) and first.value is Ellipsis)
            known = decorator_name(value, frozenset()).lower() == "field"
            required = known and absent and not given & {"default", "default_factory"}
        self.fields[name] = Field(name, node.annotation, required, named, cls)

    def _config(self, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and not value.args:
            given = {one.arg: one.value for one in value.keywords}
        elif isinstance(value, ast.Dict):
            given = {getattr(key, "value", None): one for key, one in zip(value.keys, value.values, strict=True)}
        else:
            given = {None: value}
        if "extra" in given:
            self._extra(given["extra"])
        if set(given) - _SAFE_CONFIG:
            self.constructible = False

    def _extra(self, value: ast.expr) -> None:
        extra = value.value if isinstance(value, ast.Constant) else None
        self.forbids = extra == "forbid"
        if extra not in {"forbid", "ignore"}:
            self.constructible = self.readable = False


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True

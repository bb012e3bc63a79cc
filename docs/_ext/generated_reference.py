"""Parts of the reference that are made from the code: public names, verbs, keys, metrics and schemas."""

import importlib
import inspect
import json
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles


class Generated(SphinxDirective):
    """A directive whose content is reStructuredText that it makes itself."""

    def lines(self):
        raise NotImplementedError

    def run(self):
        content = StringList()
        for line in self.lines():
            for part in line.splitlines() or [""]:
                content.append(part, self.get_source_info()[0])
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, content, node)
        return node.children


class PublicApi(Generated):
    """Every name in the `__all__` of a module, with its signature and docstring."""

    required_arguments = 1
    option_spec: ClassVar = {"except": str}

    def lines(self):
        (module,) = self.arguments
        loaded = importlib.import_module(module)
        shown = set(importlib.import_module(other).__all__) if (other := self.options.get("except")) else set()
        for name in sorted(set(loaded.__all__) - shown, key=str.lower):
            value = getattr(loaded, name)
            if inspect.isclass(value):
                yield f".. autoclass:: {module}.{name}"
                yield "   :members:"
            elif callable(value):
                yield f".. autofunction:: {module}.{name}"
            else:  # a constant has no docstring of its own: autodoc would show that of its type
                yield f".. py:data:: {module}.{name}"
                yield ""
                yield f"   {type(value).__name__} of {', '.join(f'``{key}``' for key in value)}"
            yield ""


class Errors(Generated):
    """The tree of errors, base classes first."""

    def lines(self):
        from dynamo_nb import errors

        found = {n: v for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.DynamoError)}
        for name in found:
            yield f".. autoexception:: dynamo_nb.errors.{name}"
            yield "   :show-inheritance:"
            yield ""


class Verbs(Generated):
    """The verbs of the `dynamo` command: help, arguments, options, examples."""

    def lines(self):
        from dynamo_nb.cli.help import verb_help

        for verb in verb_help():
            yield f"``{verb.name}``"
            yield "-" * (len(verb.name) + 4)
            yield ""
            yield _literal(verb.help)
            yield ""
            arguments = [p for p in verb.parameters if not p.is_option]
            options = [p for p in verb.parameters if p.is_option]
            for title, parameters in (("Arguments", arguments), ("Options", options)):
                if parameters:
                    yield f".. rubric:: {title}"
                    yield ""
                    yield ".. list-table::"
                    yield "   :widths: 35 65"
                    yield ""
                    for parameter in parameters:
                        value = f" {parameter.value}" if parameter.is_option and parameter.value else ""
                        default = f" (default: {parameter.default})" if parameter.default else ""
                        yield f"   * - ``{', '.join(parameter.names)}{value}``"
                        yield f"     - {_literal(parameter.help + default)}"
                    yield ""
            yield ".. rubric:: Examples"
            yield ""
            yield ".. code-block:: text"
            yield ""
            for example in verb.examples:
                yield f"   # {example.comment}"
                yield f"   {example.line}"
            yield ""


def _literal(text):
    """Help is plain text: characters that mean something in reStructuredText are escaped."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("`", "\\`").replace("_", "\\_") or "\\ "


class Keys(Generated):
    """The fields of a pydantic model, nested ones with dots."""

    required_arguments = 1

    def lines(self):
        module, _, name = self.arguments[0].rpartition(".")
        yield ".. list-table::"
        yield "   :header-rows: 1"
        yield ""
        yield "   * - key"
        yield "     - default"
        yield from self._rows(getattr(importlib.import_module(module), name), "")

    def _rows(self, model, prefix):
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                yield from self._rows(inner, f"{prefix}{name}.")
            else:
                yield f"   * - ``{prefix}{name}``"
                yield f"     - ``{json.dumps(field.get_default(call_default_factory=True), default=str)}``"


class Parameters(Generated):
    """The configuration keys of services: the parameters of their constructors."""

    required_arguments = 1

    def lines(self):
        module, _, names = self.arguments[0].rpartition(":")
        loaded = importlib.import_module(module)
        for name in names.split(","):
            service = getattr(loaded, name)
            yield f"**{name}**"
            yield ""
            yield ".. list-table::"
            yield "   :header-rows: 1"
            yield ""
            yield "   * - key"
            yield "     - default"
            for parameter in list(inspect.signature(service.__init__).parameters.values())[1:]:
                if parameter.kind is parameter.VAR_KEYWORD:
                    yield "   * - every argument of the engine, by the engine's own name"
                    yield "     - the engine's"
                    continue
                default = "required" if parameter.default is parameter.empty else repr(parameter.default)
                yield f"   * - ``{name}.{parameter.name}``"
                yield f"     - ``{default}``"
            yield ""


class Metrics(Generated):
    """The metrics that a deployment exports."""

    def lines(self):
        yield ".. list-table::"
        yield "   :header-rows: 1"
        yield "   :widths: 30 10 30 30"
        yield ""
        yield "   * - name"
        yield "     - type"
        yield "     - labels"
        yield "     - meaning"
        for name, kind, labels, documentation in self.families():
            yield f"   * - ``{name}{'_total' if kind == 'counter' else ''}``"
            yield f"     - {kind}"
            yield f"     - {', '.join(f'``{label}``' for label in labels)}"
            yield f"     - {documentation}"

    def families(self):
        from dynamo_nb.supervisor.prometheus import DeploymentCollector

        for family in DeploymentCollector(lambda: {"services": {}, "edges": []}).collect():
            yield family.name, family.type, family._labelnames, family.documentation


class FrontendMetrics(Metrics):
    """The metrics that the frontend of language models exports."""

    def families(self):
        from dynamo_nb.llm.api.metrics import RequestMetrics

        metrics = RequestMetrics()
        for family in vars(metrics).values():
            if hasattr(family, "_labelnames"):
                yield family._name, family._type, family._labelnames, family._documentation


def write_schema(app) -> None:
    """Writes the JSON schema of a GraphSpec where the site offers it for download."""
    from dynamo_nb.graph import GraphSpec

    target = Path(app.srcdir) / "reference" / "graphspec.schema.json"
    text = json.dumps(GraphSpec.model_json_schema(), indent=2) + "\n"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")


def setup(app):
    app.add_directive("public-api", PublicApi)
    app.add_directive("error-tree", Errors)
    app.add_directive("verb-table", Verbs)
    app.add_directive("model-keys", Keys)
    app.add_directive("service-keys", Parameters)
    app.add_directive("metric-table", Metrics)
    app.add_directive("frontend-metric-table", FrontendMetrics)
    app.connect("builder-inited", write_schema)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

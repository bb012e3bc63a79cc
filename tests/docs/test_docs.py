"""The documentation: it builds without a warning, its links lead somewhere, and it covers what is public."""

import ast
import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PUBLIC = ["dynamo_nb", "dynamo_nb.llm", "dynamo_nb.runtime"]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, built with warnings as errors."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", target / "doctrees"]
    built = subprocess.run([*command, DOCS, target / "html"], capture_output=True, text=True, timeout=110)
    assert built.returncode == 0, built.stderr
    return target / "html"


class Page(HTMLParser):
    """The anchors of a page, and the places that it links to."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self.anchors.add(found["id"])
        for name in ("href", "src"):
            if found.get(name):
                self.links.add(found[name])


@pytest.mark.slow
def test_links_inside_the_site_lead_somewhere(site):
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if "_static" not in path.parts
    }
    assert len(pages) > 20
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            lost = not target.exists()
            if not lost and target in pages and parts.fragment not in {"", "main-content"}:
                lost = unquote(parts.fragment) not in pages[target].anchors
            if lost and "searchbox" not in link:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


@pytest.mark.slow
@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference_with_its_arguments(site, module):
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    anchors = Page(page).anchors
    missing = [name for name in importlib.import_module(module).__all__ if f"{module}.{name}" not in anchors]
    assert not missing


@pytest.mark.slow
def test_every_verb_and_every_error_is_in_the_reference(site):
    from dynamo_nb import errors
    from dynamo_nb.cli.help import verb_help

    verbs = Page((site / "reference" / "cli.html").read_text(encoding="utf-8")).anchors
    assert {verb.name for verb in verb_help()} <= verbs
    names = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    anchors = Page((site / "reference" / "api.html").read_text(encoding="utf-8")).anchors
    assert {f"dynamo_nb.errors.{name}" for name in names} <= anchors


def test_every_environment_variable_is_in_the_reference():
    page = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    used = set()
    for path in (REPOSITORY / "dynamo_nb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used |= set(re.findall(r"^(?:DYNAMO|NATS)_[A-Z_]+$", node.value))
    assert used > {"DYNAMO_HOME", "NATS_SERVER"}
    assert not [name for name in used if name not in page]


@pytest.mark.parametrize("guide", sorted(path.name for path in (DOCS / "guides").glob("*.md")))
def test_the_python_of_a_guide_is_valid(guide):
    from IPython.core.inputtransformer2 import TransformerManager

    text = (DOCS / "guides" / guide).read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        source = TransformerManager().transform_cell(block)
        compile(source, guide, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("guide", ["services.md", "linking.md", "http.md"])
def test_the_services_of_a_guide_can_be_defined(guide):
    text = (DOCS / "guides" / guide).read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import" in block]
    assert blocks
    for block in blocks:
        exec(compile(block, guide, "exec"), {"__name__": "guide"})


@pytest.mark.parametrize("package", PUBLIC)
def test_no_module_hides_a_public_name_that_is_loaded_on_first_use(package):
    loaded = importlib.import_module(package)
    names = set(loaded.__all__)
    assert names
    folder = Path(loaded.__file__).parent
    assert not names & {path.stem for path in folder.iterdir()}

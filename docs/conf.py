"""Sphinx configuration. `make docs` builds the site into build/docs with warnings as errors."""

import json
import sys
from pathlib import Path

import dynamo_nb

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
sys.path.insert(0, str(HERE / "_ext"))

project = "dynamo_nb"
author = "The dynamo_nb authors"
copyright = "The dynamo_nb authors"
version = release = dynamo_nb.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "generated_reference",
]
exclude_patterns = ["_ext"]
html_theme = "pydata_sphinx_theme"
html_title = "dynamo_nb"
html_theme_options = {
    "show_prev_next": True,
    "navigation_depth": 3,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
}
html_show_sourcelink = False
html_show_copyright = False

# Saved outputs are shown. Nothing runs at build time.
nb_execution_mode = "off"
nb_merge_streams = True
# Widgets need a kernel. Every output has an SVG or text form beside them.
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),
    ("html", "image/svg+xml", 1),
    ("html", "text/html", 2),
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
napoleon_numpy_docstring = False


def copy_notebooks(_app) -> None:
    """Brings the notebooks, which live at the top of the repository, into the source folder of the site."""
    target = HERE / "tutorial" / "notebooks"
    target.mkdir(exist_ok=True)
    for file in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        notebook = json.loads(file.read_text(encoding="utf-8"))
        # Cells with magics are not plain Python.
        notebook["metadata"].setdefault("language_info", {})["pygments_lexer"] = "ipython3"
        text = json.dumps(notebook, indent=1)
        copy = target / file.name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("builder-inited", copy_notebooks, priority=100)

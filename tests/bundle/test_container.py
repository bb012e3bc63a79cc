"""What the image of a bundle is called and made of."""

from importlib.metadata import version

from exported_programs import LINK, SERVICES, module

from dynamo_nb.bundle.container import requirements
from dynamo_nb.source import CodeTree, Module


def test_requirements_are_what_the_code_imports_at_the_versions_that_are_installed():
    code = CodeTree(
        (
            Module("mine", "mine.py", "import os\nimport yaml.nodes\nfrom dynamo_nb import service\nimport mine.part"),
            Module(
                "mine.part", "mine/part.py", "def f():\n    from pydantic import BaseModel\n    import no_such_thing"
            ),
            Module("other", "other.py", "from . import mine\nfrom dynamo.sdk import depends"),
        )
    )
    assert requirements(code).splitlines() == [
        f"dynamo-nb=={version('dynamo-nb')}",
        f"pydantic=={version('pydantic')}",
        f"PyYAML=={version('pyyaml')}",
        "# no_such_thing: imported, and not installed where this was exported",
    ]


def test_the_image_has_another_tag_whenever_the_graph_is_another(source, tmp_path):
    made = module(source, SERVICES + LINK)
    tags = []
    for name, suffix in (("a", "x"), ("b", "x"), ("c", "y")):
        folder = made.export(tmp_path / name, f"--Backend.suffix={suffix}")
        line = next(li for li in (folder / "README.md").read_text().splitlines() if "docker push" in li)
        tags.append(line.split()[-1])
        assert tags[-1] in (folder / "kubernetes.yaml").read_text()
    assert tags[0] == tags[1] != tags[2]

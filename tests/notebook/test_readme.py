"""The examples of the README run."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_programs_of_the_readme_run_in_order_without_files(kernel, blocks, tmp_path):
    first, second, third = blocks

    ran = kernel.run(first)
    assert ran.ok, ran.error
    assert "['hello?', 'world?']" in ran.text

    ran = kernel.run(second)
    assert ran.ok, ran.error
    assert "suffix: '?'" in (tmp_path / "bundle" / "config.yaml").read_text(encoding="utf-8")

    ran = kernel.run(third + "\nawait deployment.stop()")
    assert ran.ok, ran.error

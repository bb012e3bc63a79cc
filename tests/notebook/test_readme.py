"""What the README shows is what runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_readmes_notebook_runs(dynamo_home, tmp_path, monkeypatch, request):
    monkeypatch.setenv("DYNAMO_GPUS", "0,1,2,3")
    (tmp_path / "config.yaml").write_text("Backend: {suffix: '?'}\n")
    code, _ = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    ran = request.getfixturevalue("kernel").run(code)  # which has the GPUs only if it is started now

    assert ran.ok, ran.error
    assert "suffix: '!'" in (tmp_path / "bundle" / "config.yaml").read_text()

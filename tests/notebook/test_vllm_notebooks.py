"""The notebooks of this repository that serve with vLLM, run by papermill."""

import pytest

pytest.importorskip("vllm")

from executed_notebooks import WITH_VLLM, run_and_make_a_page


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WITH_VLLM)
def test_a_notebook_of_this_repository_runs_and_is_a_page_without_a_kernel(name, tmp_path, monkeypatch, dynamo_home):
    monkeypatch.chdir(tmp_path)
    run_and_make_a_page(name)

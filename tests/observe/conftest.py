"""A deployment to put loads on, shared by the tests of one module."""

import pytest
from benched_program import PROGRAM


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("benched.py", PROGRAM)
    with module_project.serve("benched:Frontend").result() as deployment:
        yield deployment

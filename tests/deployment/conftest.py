import json
import sys

import pytest
from deployed_program import PROGRAM, SCRIPT


@pytest.fixture
def program(project):
    """A folder with program.py in it."""
    project.write("program.py", PROGRAM)
    return project


@pytest.fixture(scope="module")
def module_program(module_project):
    module_project.write("program.py", PROGRAM)
    return module_project


@pytest.fixture(scope="module")
def deployment(module_program):
    """Frontend and two workers of Backend, shared by the tests of one module."""
    with module_program.serve("program:Frontend").result() as deployment:
        yield deployment


@pytest.fixture
def owner_script(program):
    """Returns the command line of a process that serves the program and prints what it started, for a configuration."""
    program.write("owner.py", SCRIPT)
    return lambda **config: [sys.executable, str(program.folder / "owner.py"), json.dumps(config)]

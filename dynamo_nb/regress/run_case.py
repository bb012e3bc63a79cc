"""The process of one case: `python -m dynamo_nb.regress.run_case FOLDER`. It runs the notebook with papermill.

The outcomes of the cells are in files of the folder. The exit status is 0 if the notebook ran to its end, else 1. The
file ERROR has the reason of a failure outside of the cells.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

JOB: Final = "job.json"
ERROR: Final = "error.txt"
ENGINE: Final = "dynamo"


class Job(msgspec.Struct, frozen=True):
    """The work of this process.

    Attributes:
        notebook: The notebook.
        output: The executed notebook.
        working_dir: The working directory of its cells.
        parameters: The parameters.
        kernel: Name of the kernel; "" for the kernel in the notebook.
        options: Options of the engine.
    """

    notebook: str
    output: str
    working_dir: str
    parameters: dict[str, Any]
    kernel: str
    options: dict[str, Any]


def main(folder: Path) -> int:
    """Runs the job of a folder.

    Args:
        folder: The folder, with the file JOB.

    Returns:
        The exit status.
    """
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    signal.signal(signal.SIGTERM, _interrupt)
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            job.notebook,
            job.output,
            parameters=job.parameters,
            engine_name=ENGINE,
            kernel_name=job.kernel or None,
            cwd=job.working_dir,
            progress_bar=False,
            **job.options,
        )
    except (PapermillExecutionError, KeyboardInterrupt):
        return 1
    except Exception as error:  # an error of papermill, such as a kernel that is not installed
        (folder / ERROR).write_text(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _interrupt(*_: Any) -> NoReturn:
    """Turns the signal of the runner into an interrupt. Papermill then saves the notebook."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

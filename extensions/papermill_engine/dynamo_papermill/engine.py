"""The engine, as papermill calls it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from papermill.engines import Engine, NotebookExecutionManager
from papermill.log import logger
from papermill.utils import merge_kwargs, remove_args

from dynamo_nb.regress.cell_report import CellReport
from dynamo_nb.regress.private_state import VARIABLE, PrivateState
from dynamo_nb.regress.recorder import VARIABLE as RUN
from dynamo_papermill.client import CellRunner


class DynamoEngine(Engine):  # type: ignore[misc] # papermill has no types
    """Runs notebooks whose cells serve graphs.

    Options, which `papermill.execute_notebook` passes on:

    - `cell_timeout`: seconds for one cell. The kernel is interrupted then, so the traceback shows the position.
    - `notebook_timeout`: seconds for all cells.
    - `keep_going`: True to run the cells after a failed cell that do not need it.
    """

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: Any = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        **kwargs: Any,
    ) -> Any:
        """Runs a notebook. Called by papermill, see `Engine.execute_notebook`."""
        manager = _Manager(
            nb,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
        )
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **kwargs)
        finally:
            manager.cleanup_pbar()
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        start_timeout: int = 60,
        execution_timeout: float | None = None,
        cell_timeout: float | None = None,
        notebook_timeout: float | None = None,
        keep_going: bool = False,
        **kwargs: Any,
    ) -> None:
        """Runs the cells of a notebook. Called by papermill."""
        options = merge_kwargs(
            remove_args(["input_path", "timeout", "startup_timeout"], **kwargs),
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
        )
        with _state() as (state, environment):
            runner = CellRunner(nb_man, state, CellReport.of_run(), keep_going=keep_going, **options)
            runner.set_limits(cell_timeout or execution_timeout, notebook_timeout)
            runner.execute(env=environment)


@contextlib.contextmanager
def _state() -> Iterator[tuple[PrivateState | None, dict[str, str]]]:
    """The state directory of the notebook: that of the runner, or a new one, which is removed at the end."""
    if RUN in os.environ:  # the runner ends remaining processes and reports them
        yield PrivateState(Path(os.environ[VARIABLE])), dict(os.environ)
        return
    state = PrivateState()
    try:
        yield state, os.environ | state.environment
    finally:
        for line in state.end():
            logger.warning(line)


class _Manager(NotebookExecutionManager):  # type: ignore[misc]
    """Saves a notebook by replacing its file, so that the earlier version remains if the disk is full."""

    def save(self, **_: Any) -> None:
        """Replaces the file by the current notebook."""
        import nbformat

        path = self.output_path
        if path is None or "://" in path or not Path(path).parent.is_dir():
            super().save()  # another kind of storage, such as a bucket
            return
        beside = Path(path).with_name(f".{Path(path).name}.new")
        try:
            beside.write_text(nbformat.writes(self.nb), encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            logger.error("the notebook cannot be saved: %s", error)
        self.last_save_time = self.now()

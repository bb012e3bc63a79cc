"""Requests of verbs to the supervisor of a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_nb.control.record import Record
    from dynamo_nb.control.status import Status
    from dynamo_nb.observe.display import Display


def request(record: Record, name: str, *, wait_for_end: bool = False, **args: Any) -> Any:
    """Sends one request and returns the answer.

    Args:
        record: The deployment.
        name: The request, such as `stop`.
        wait_for_end: Return only after the supervisor has ended.
        args: The arguments of the request.

    Raises:
        ConnectError: The supervisor does not answer.
    """
    from dynamo_nb.control.client import ask
    from dynamo_nb.sdk.portal import portal

    async def answer() -> Any:
        result = await ask(record.control, name, **args)
        if wait_for_end:
            await record.supervisor.ended()
        return result

    return portal.run(answer())


def status_of(record: Record) -> Status:
    """Returns the status of a deployment. Raises ConnectError if its supervisor does not answer."""
    from dynamo_nb.control.client import ask_status
    from dynamo_nb.sdk.portal import portal

    return portal.run(ask_status(record.control))


def change(record: Record, name: str, display: Callable[[], Display], **args: Any) -> Status:
    """Requests a change that may take long, and shows its progress.

    Args:
        record: The deployment.
        name: The request, such as `scale`.
        display: Creates the display for the progress, if the change takes long.
        args: The arguments of the request.

    Returns:
        The status after the change.

    Raises:
        ConnectError: The supervisor does not answer.
        DeploymentError: The change failed; the deployment is as before.
    """
    from dynamo_nb.control.client import ControlClient
    from dynamo_nb.observe.progress import ProgressReport
    from dynamo_nb.sdk.portal import portal

    async def answer() -> Status:
        latest: list[Status] = []
        client = await ControlClient.connect(record.control, latest.append)
        try:
            latest.append(await client.watch())
            async with ProgressReport(lambda: latest[-1], record.folder / "logs", display):
                return await client.change(name, **args)
        finally:
            await client.close()

    return portal.run(answer())

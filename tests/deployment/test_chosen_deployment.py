"""The deployment that a user means by an id, the beginning of an id, or a name."""

import asyncio
import os
from pathlib import Path

import pytest

from dynamo_nb import attach
from dynamo_nb.control import state_dir
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record
from dynamo_nb.deployment.attach import chosen
from dynamo_nb.errors import ConnectError, DeploymentError


def record(id, name):
    return Record(id, name, Path(id), ProcessId.of(os.getpid()), None, 0.0)


CHAT, CHAT2, SHOP = record("chat-1a2b", "Chat"), record("chat-1a9f", "Chat"), record("shop-77aa", "chat-1a2b.ipynb")


@pytest.mark.parametrize(
    ("alive", "which", "found"),
    [
        ([CHAT], None, CHAT),
        ([CHAT, SHOP], "chat-1a2b", CHAT),
        ([CHAT, SHOP], "Chat", CHAT),
        ([CHAT, SHOP], "chat-1a2b.ipynb", SHOP),
        ([CHAT, SHOP], "shop", SHOP),
        ([CHAT, SHOP], "chat", CHAT),
        ([CHAT, SHOP], "SHOP", SHOP),
        ([CHAT, CHAT2], "chat-1a2", CHAT),
    ],
    ids=["the only one", "id", "name", "name like an id", "beginning", "shared by a name", "capitals", "a longer one"],
)
def test_a_deployment_is_found(alive, which, found):
    assert chosen(alive, which) is found


@pytest.mark.parametrize(
    ("alive", "which", "message"),
    [
        ([], None, "nothing is being served"),
        ([], "chat", "deployment 'chat' not found: nothing is served"),
        ([CHAT, CHAT2], None, "several deployments are running: chat-1a2b, chat-1a9f"),
        ([CHAT, CHAT2], "Chat", "several deployments are running: chat-1a2b, chat-1a9f"),
        ([CHAT, CHAT2], "chat-1a", "several deployments are running: chat-1a2b, chat-1a9f"),
        ([CHAT], "hat", "deployment 'hat' not found"),
        ([CHAT], "", "deployment '' not found"),
        ([CHAT], "chat-1a2bc", "deployment 'chat-1a2bc' not found"),
    ],
    ids=[
        "none runs",
        "none of this name",
        "several",
        "of one name",
        "of one beginning",
        "a middle",
        "nothing",
        "longer",
    ],
)
def test_no_or_several_deployments_are_an_error(alive, which, message):
    with pytest.raises(DeploymentError) as caught:
        chosen(alive, which)
    assert caught.value.what == message


async def awaited(which):
    return await attach(which)


async def awaited_in_a_task(which):
    return await asyncio.create_task(awaited(which))


async def awaited_with_a_limit(which):
    return await asyncio.wait_for(awaited(which), 20)


async def in_another_thread(which):
    return await asyncio.to_thread(lambda: attach(which).result(20))


WAYS = {way.__name__: way for way in (awaited, awaited_in_a_task, awaited_with_a_limit, in_another_thread)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("served", "which", "error", "message"),
    [
        (0, "no such name", DeploymentError, "deployment 'no such name' not found"),
        (0, None, DeploymentError, "nothing is being served"),
        (1, "no such name", DeploymentError, "deployment 'no such name' not found"),
        (1, "", DeploymentError, "deployment '' not found"),
        (2, None, DeploymentError, "several deployments are running"),
        (2, "Chat", DeploymentError, "several deployments are running"),
        (1, "Chat", ConnectError, "does not answer"),
    ],
    ids=[
        "none of this name",
        "none runs",
        "none of several names",
        "nothing",
        "several",
        "of one name",
        "no supervisor",
    ],
)
async def test_a_deployment_that_cannot_be_attached_is_an_error_at_once(
    dynamo_home, way, served, which, error, message
):
    for _ in range(served):
        folder = state_dir.new_folder("chat")
        Record(folder.name, "Chat", folder, ProcessId.of(os.getpid()), None, 0.0).write()

    with pytest.raises(error, match=message):
        await WAYS[way](which)

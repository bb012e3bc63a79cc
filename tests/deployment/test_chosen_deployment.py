"""The deployment that a user means by an id, the beginning of an id, or a name."""

import os
from pathlib import Path

import pytest

from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record
from dynamo_nb.deployment.attach import chosen
from dynamo_nb.errors import DeploymentError


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

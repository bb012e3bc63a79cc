"""The messages of every token are sent without a conversion, which would cost more than the rest of their way."""

import pytest

from dynamo_nb.llm.messages import Placement, TextDelta, TokenDelta, WorkerEvent
from dynamo_nb.sdk.values import Shape


@pytest.mark.parametrize("message", [TokenDelta, TextDelta, Placement, WorkerEvent])
def test_messages_of_the_hot_path_are_sent_as_they_are(message):
    assert Shape(message).plain

"""The values of `traffic` in the decorator and in the configuration."""

import pytest

from dynamo_nb.config.effective import resolve
from dynamo_nb.config.layers import mapping_layer
from dynamo_nb.errors import ConfigError, DefinitionError
from dynamo_nb.sdk import definition_of, service


@pytest.mark.parametrize("key", ["timeout", "keep_alive"])
@pytest.mark.parametrize("value", ["soon", 0, -1, True, float("inf"), [3]])
def test_a_value_that_is_not_a_number_of_seconds_is_refused(key, value):
    with pytest.raises(DefinitionError, match=rf"traffic.{key}"):
        service(traffic={key: value})(type("Own", (), {}))

    configured = service(type("Configured", (), {}))
    layer = mapping_layer({"Configured": {"ServiceArgs": {"traffic": {key: value}}}}, "config")
    with pytest.raises(ConfigError) as caught:
        resolve([definition_of(configured)], [layer])
    assert [problem.path for problem in caught.value.problems] == [f"Configured.ServiceArgs.traffic.{key}"]


def test_null_in_the_configuration_takes_a_limit_away():
    limited = service(traffic={"timeout": 3})(type("Limited", (), {}))
    layer = mapping_layer({"Limited": {"ServiceArgs": {"traffic": {"timeout": None}}}}, "config")
    assert resolve([definition_of(limited)], [layer]).services["Limited"].args.traffic.timeout is None

"""The plugins travel so that any worker can load them."""

from __future__ import annotations

import pickle
import pickletools

import pytest

from prefect_tune.execution.node.plugins import AgentPlugin, LeavingNanny


@pytest.mark.parametrize("kind", [AgentPlugin, LeavingNanny])
def test_a_plugin_is_sent_as_source(kind):
    sent = pickle.dumps(kind("its name", "operation"))
    # Neither a name of this package, nor code that another Python could not run.
    operations = [operation.name for operation, _, _ in pickletools.genops(sent)]
    texts = [argument for _, argument, _ in pickletools.genops(sent) if isinstance(argument, str)]
    assert operations.count("STACK_GLOBAL") == 1
    assert texts[:2] == ["builtins", "eval"]
    plugin = pickle.loads(sent)
    assert type(plugin) is not kind
    assert (plugin.name, plugin.idempotent) == ("its name", True)

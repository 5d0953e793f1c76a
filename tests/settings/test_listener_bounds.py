"""Two places know a listener's bounds: the settings name the TOML path, the relay defends itself. They must agree."""

from dataclasses import fields

from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.settings import ListenerSettings


def test_defaults_of_a_listener_are_those_of_the_relay() -> None:
    ours = ListenerSettings(listen=":80").model_dump()
    theirs = {field.name: field.default for field in fields(ListenerSpec)}
    shared = ours.keys() & theirs.keys()
    assert {"protocol", "workers", "queue_max", "idle_timeout_s", "drain_s"} <= shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}

"""From a listener's settings to what the relay is told: numeric addresses only."""

import socket

from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.sockets import listen
from forestay.model.errors import InvalidInput
from forestay.settings import ClusterSettings, ListenerSettings
from forestay.settings.addresses import parse_host_port


def listener_specs(cluster: str, settings: ClusterSettings) -> list[ListenerSpec]:
    """What the relay of one cluster is told.

    Raises:
        InvalidInput: a host name to listen on has no address.
    """
    return [_spec(cluster, name, listener, settings) for name, listener in settings.listeners.items()]


def check_free(spec: ListenerSpec) -> None:
    """Try an address before anything is changed for its sake.

    Raises:
        InvalidInput: it cannot be bound.
    """
    listen(spec).close()


def _spec(cluster: str, name: str, listener: ListenerSettings, settings: ClusterSettings) -> ListenerSpec:
    address = parse_host_port(listener.listen, listen=True)
    return ListenerSpec(
        name=name,
        cluster=cluster,
        host=_numeric(address.host, f"clusters.{cluster}.listeners.{name}.listen"),
        port=address.port,
        policy=settings.policy,
        zone_factor=settings.balancer.zone_factor,
        **listener.model_dump(exclude={"listen"}),
    )


def _numeric(host: str, setting: str) -> str:
    """The address to bind; an empty host is every address, of both families where the machine has both."""
    if host == "":
        return "::" if _has_ipv6() else "0.0.0.0"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInput(f"{setting}: host {host!r} has no address ({error.strerror}); name one by number") from None
    return str(found[0][4][0])


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True

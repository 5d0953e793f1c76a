"""What a cluster in shadow mode has beside its loop: its own clock, and whoever reads the access log."""

from forestay.assembly.supervision import Supervisor
from forestay.control.clock import SYSTEM_CLOCK, Clock
from forestay.control.shadow.shadow import Shadow, ShadowRule
from forestay.settings import ClusterSettings, HealthSettings, ShadowSettings
from forestay.telemetry.access_logs import envoy, haproxy, json_lines, nginx
from forestay.telemetry.access_logs.line import Parse, ServerNames
from forestay.telemetry.access_logs.watcher import AccessLogWatcher


class Shadowing:
    """See the module.

    Attributes:
        shadow: of the cluster.
        clock: behind by the shadow's delay; the whole loop lives by it.
    """

    def __init__(self, cluster: str, settings: ShadowSettings, seed: int) -> None:
        delay_s = settings.delay_in_force_s
        self.shadow = Shadow(cluster, ShadowRule(settings.source, delay_s, settings.warm_up_s, seed))
        self.clock = Clock(lambda: SYSTEM_CLOCK.now_s() - delay_s, lambda: SYSTEM_CLOCK.wall_s() - delay_s)
        self._watcher: AccessLogWatcher | None = None
        if settings.path is not None:
            self._watcher = AccessLogWatcher(settings.path, _parser(cluster, settings), self.shadow.intake.observe)
            self.shadow.sources["access_log"] = self._watcher.lines

    def start(self, supervisor: Supervisor) -> None:
        """Begin to observe."""
        supervisor.start("shadow", self.shadow.run)
        if self._watcher is not None:
            supervisor.start("access_log", self._watcher.run)


def without_effects(settings: ClusterSettings) -> ClusterSettings:
    """The settings without what others would notice: listeners, and health checks that nobody asked for by name."""
    changes: dict[str, object] = {"listeners": {}}
    if "health" not in settings.model_fields_set:
        changes["health"] = HealthSettings(type="none")
    return settings.model_copy(update=changes)


def _parser(cluster: str, settings: ShadowSettings) -> Parse:
    servers = ServerNames(settings.servers)
    match settings.format:
        case "haproxy":
            return haproxy.parser(servers)
        case "nginx":
            return nginx.parser(servers, settings.log_format)
        case "envoy":
            return envoy.parser(servers)
        case "json":
            return json_lines.parser(servers, cluster)

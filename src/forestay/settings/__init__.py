"""Settings of `forestay serve`, from flags, environment, TOML and defaults: validated where they enter."""

from forestay.settings.loading import (
    Configuration,
    find_file,
    load_agent_settings,
    load_configuration,
    parse_assignments,
)
from forestay.settings.models import (
    ClusterSettings,
    DnsSettings,
    EndpointSettings,
    HealthSettings,
    ListenerSettings,
    LogSettings,
    ProcessSettings,
    RegistrySettings,
    ScrapeSettings,
    ServiceSettings,
    Settings,
    ShadowSettings,
)
from forestay.settings.problems import SettingsError

__all__ = [
    "ClusterSettings",
    "Configuration",
    "DnsSettings",
    "EndpointSettings",
    "HealthSettings",
    "ListenerSettings",
    "LogSettings",
    "ProcessSettings",
    "RegistrySettings",
    "ScrapeSettings",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "ShadowSettings",
    "find_file",
    "load_agent_settings",
    "load_configuration",
    "parse_assignments",
]

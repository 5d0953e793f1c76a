"""Where forestay keeps files: state for ever, runtime until the next boot, cache until somebody deletes it.

systemd says where (StateDirectory=, RuntimeDirectory=); without it root uses the places of the Filesystem Hierarchy
Standard and everybody else those of the XDG Base Directory Specification.
"""

import os
from collections.abc import Mapping
from pathlib import Path


def state_directory(environment: Mapping[str, str]) -> Path:
    """For what outlives a reboot: the registry."""
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/forestay")
    home = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "/tmp"), ".local/state"))
    return Path(home, "forestay")


def cache_directory(environment: Mapping[str, str]) -> Path:
    """For what can be computed again: results of simulations."""
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/tmp"), ".cache"))
    return Path(home, "forestay")


def runtime_directory(environment: Mapping[str, str]) -> Path:
    """For what a restarted control process must find again: the workers' sockets and tables."""
    if given := environment.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/run/forestay")
    if given := environment.get("XDG_RUNTIME_DIR"):
        return Path(given, "forestay")
    return Path(f"/tmp/forestay-{os.geteuid()}")

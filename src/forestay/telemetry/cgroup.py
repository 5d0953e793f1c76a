"""What a control group used and what it may use, from the kernel's files: version 2, and version 1 where it is mounted.

A limit holds for all descendants, so the tightest one on the way up counts. Memory that the kernel would give back
under pressure (inactive file cache) does not count as used, as in the kubelet's working set.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from forestay.model.errors import InvalidInput

CONTROLLERS = ("cpu", "cpuacct", "memory")


@dataclass(frozen=True, slots=True)
class Directory:
    """A group in one hierarchy.

    Attributes:
        root: where the hierarchy is mounted.
        path: the group's directory, `root` or below it.
    """

    root: Path
    path: Path


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A control group by controller: directories in different hierarchies (version 1) or the same one (version 2).

    None: the group does not exist in the controller's hierarchy, so nothing is measured or limited there.
    """

    cpu: Directory | None
    cpuacct: Directory | None
    memory: Directory | None

    def cpu_s(self) -> float:
        """CPU time used since the group was made, seconds.

        Raises:
            OSError: the group is gone.
        """
        assert self.cpuacct is not None, "cgroup_at() gives none without it"
        legacy = self.cpuacct.path / "cpuacct.usage"
        if legacy.exists():
            return int(legacy.read_text()) / 1e9
        return _table(self.cpuacct.path / "cpu.stat")["usage_usec"] / 1e6

    def cores(self) -> float | None:
        """CPU quota in cores; None: no quota."""
        quotas = [cores for path in _upwards(self.cpu) if (cores := _quota(path)) is not None]
        return min(quotas, default=None)

    def memory_bytes(self) -> float | None:
        """Memory in use without cache that can be dropped; None where the memory controller is off.

        Raises:
            OSError: the group is gone.
        """
        if self.memory is None:
            return None
        path = self.memory.path
        for used, cache in (("memory.usage_in_bytes", "total_inactive_file"), ("memory.current", "inactive_file")):
            if (path / used).exists():
                statistics = _table(path / "memory.stat")
                return max(0.0, float((path / used).read_text()) - statistics.get(cache, 0))
        os.stat(path)
        return None

    def memory_limit_bytes(self) -> float | None:
        """Memory limit; None: no limit of its own."""
        limits = [
            float(text)
            for path in _upwards(self.memory)
            for name in ("memory.limit_in_bytes", "memory.max")
            if (text := _read(path / name)) not in (None, "max")
        ]
        return min(limits, default=None)


def hierarchies(mounts: str) -> dict[str, Path]:
    """Where each controller of interest is mounted, from the text of /proc/self/mounts; "" is version 2."""
    found: dict[str, Path] = {}
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        _, directory, kind, options = fields[:4]
        if kind == "cgroup2":
            found.setdefault("", Path(directory))
        elif kind == "cgroup":
            for controller in set(CONTROLLERS) & set(options.split(",")):
                found.setdefault(controller, Path(directory))
    return found


def cgroup_at(path: str, mounts: str | None = None) -> Cgroup:
    """The group named `path`: as in /proc/PID/cgroup ("/system.slice/chat.service"), or its directory.

    Raises:
        InvalidInput: there is no such group.
    """
    roots = hierarchies(_own_mounts() if mounts is None else mounts)
    name = path
    for root in sorted(roots.values(), key=lambda root: -len(root.parts)):
        if Path(path).is_relative_to(root):
            name = "/" + str(Path(path).relative_to(root))
            break
    group = _directories(dict.fromkeys(["", *CONTROLLERS], name), roots, strict=True)
    if group.cpuacct is None:
        raise InvalidInput(
            f"cgroup = {path!r}: no such control group; write its path as in /proc/PID/cgroup,"
            " e.g. /system.slice/chat.service"
        )
    return group


def cgroup_of(pid: int, mounts: str | None = None, membership: str | None = None) -> Cgroup:
    """The group of a process; without directories where the machine has no control groups.

    Raises:
        OSError: no such process.
    """
    text = Path(f"/proc/{pid}/cgroup").read_text() if membership is None else membership
    names: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, name = line.split(":", 2)
        for controller in controllers.split(","):
            names[controller] = name
    return _directories(names, hierarchies(_own_mounts() if mounts is None else mounts), strict=False)


def _directories(names: Mapping[str, str], roots: Mapping[str, Path], strict: bool) -> Cgroup:
    """Find each controller's directory: in its own hierarchy if it is mounted there, else in version 2."""

    def find(controller: str) -> Directory | None:
        for hierarchy in (controller, ""):
            if hierarchy in roots and hierarchy in names:
                root = roots[hierarchy]
                path = root / names[hierarchy].lstrip("/")
                if path.is_dir():
                    return Directory(root, path)
                if not strict:  # in a container the name may be the host's, and what is mounted the group itself
                    return Directory(root, root)
        return None

    return Cgroup(find("cpu"), find("cpuacct"), find("memory"))


def _upwards(directory: Directory | None) -> Iterator[Path]:
    """The group's directory and its ancestors in the hierarchy."""
    if directory is not None:
        for path in (directory.path, *directory.path.parents):
            if path.is_relative_to(directory.root):
                yield path


def _quota(path: Path) -> float | None:
    if (text := _read(path / "cpu.cfs_quota_us")) is not None:
        quota, period = int(text), int(_read(path / "cpu.cfs_period_us") or 100_000)
        return quota / period if quota > 0 else None
    if (text := _read(path / "cpu.max")) is not None:
        quota_text, period_text = text.split()
        return None if quota_text == "max" else int(quota_text) / int(period_text)
    return None


def _table(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None


def _own_mounts() -> str:
    return Path("/proc/self/mounts").read_text()

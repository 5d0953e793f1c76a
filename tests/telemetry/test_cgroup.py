from pathlib import Path

import pytest

from forestay.model.errors import InvalidInput
from forestay.telemetry.cgroup import cgroup_at, cgroup_of, hierarchies

V2 = {
    "cgroup.controllers": "cpu memory",
    "system.slice/cpu.max": "150000 100000",
    "system.slice/memory.max": "1000000",
    "system.slice/chat/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n",
    "system.slice/chat/cpu.max": "max 100000",
    "system.slice/chat/memory.current": "500000",
    "system.slice/chat/memory.stat": "anon 300000\ninactive_file 200000\n",
    "system.slice/chat/memory.max": "max",
}
V1 = {
    "cpu/docker/abc/cpu.cfs_quota_us": "50000",
    "cpu/docker/abc/cpu.cfs_period_us": "100000",
    "cpu/docker/cpu.cfs_quota_us": "-1",
    "cpuacct/docker/abc/cpuacct.usage": "2500000000",
    "memory/docker/abc/memory.usage_in_bytes": "500000",
    "memory/docker/abc/memory.stat": "cache 1\ntotal_inactive_file 100000\n",
    "memory/docker/abc/memory.limit_in_bytes": "1000000",
    "memory/memory.limit_in_bytes": "9223372036854771712",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2_mounts(root: Path) -> str:
    return f"proc /proc proc rw 0 0\ncgroup2 {root} cgroup2 rw,nosuid 0 0\n"


def v1_mounts(root: Path) -> str:
    names = ("cpu", "cpuacct", "memory")
    return "".join(f"cgroup {root}/{name} cgroup rw,relatime,{name} 0 0\n" for name in names) + "odd line\n"


@pytest.mark.parametrize("name", ["/system.slice/chat", "system.slice/chat/", "{root}/system.slice/chat"])
def test_version_2_is_read_and_the_tightest_limit_above_counts(tmp_path: Path, name: str) -> None:
    group = cgroup_at(name.format(root=tree(tmp_path, V2)), v2_mounts(tmp_path))
    assert (group.cpu_s(), group.cores()) == (2.5, 1.5)
    assert (group.memory_bytes(), group.memory_limit_bytes()) == (300000.0, 1000000.0)


def test_version_1_is_read_from_its_three_hierarchies(tmp_path: Path) -> None:
    group = cgroup_at("/docker/abc", v1_mounts(tree(tmp_path, V1)))
    assert (group.cpu_s(), group.cores()) == (2.5, 0.5)
    assert (group.memory_bytes(), group.memory_limit_bytes()) == (400000.0, 1000000.0)


def test_controllers_may_share_a_hierarchy_and_version_2_fills_the_gaps(tmp_path: Path) -> None:
    mounts = f"cgroup {tmp_path}/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup2 {tmp_path}/unified cgroup2 rw 0 0\n"
    found = hierarchies(mounts)
    assert found == {"cpu": tmp_path / "cpu", "cpuacct": tmp_path / "cpu", "": tmp_path / "unified"}


def test_without_limits_there_are_none(tmp_path: Path) -> None:
    group = cgroup_at("/chat", v2_mounts(tree(tmp_path, {"chat/cpu.stat": "usage_usec 1"})))
    assert (group.cores(), group.memory_bytes(), group.memory_limit_bytes()) == (None, None, None)


def test_an_unknown_group_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no such control group; write its path as in /proc/PID/cgroup"):
        cgroup_at("/nobody", v2_mounts(tree(tmp_path, V2)))


def test_a_group_that_went_away_is_an_error_and_not_zero(tmp_path: Path) -> None:
    group = cgroup_at("/system.slice/chat", v2_mounts(tree(tmp_path, V2)))
    for file in (tmp_path / "system.slice/chat").iterdir():
        file.unlink()
    (tmp_path / "system.slice/chat").rmdir()
    with pytest.raises(FileNotFoundError):
        group.cpu_s()
    with pytest.raises(FileNotFoundError):
        group.memory_bytes()


def test_the_group_of_a_process_is_found_by_its_membership(tmp_path: Path) -> None:
    mounts = v2_mounts(tree(tmp_path, V2))
    assert cgroup_of(1, mounts, "0::/system.slice/chat\n").cores() == 1.5
    mounts = v1_mounts(tree(tmp_path, V1))
    assert cgroup_of(1, mounts, "3:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n").cores() == 0.5


def test_in_a_container_that_sees_the_hosts_names_the_mounted_group_is_its_own(tmp_path: Path) -> None:
    mounts = v2_mounts(tree(tmp_path, {"cpu.max": "25000 100000", "cpu.stat": "usage_usec 1"}))
    assert cgroup_of(1, mounts, "0::/kubepods/pod1/abc\n").cores() == 0.25


def test_a_machine_without_control_groups_has_no_limits() -> None:
    group = cgroup_of(1, "proc /proc proc rw 0 0\n", "0::/\n")
    assert (group.cores(), group.memory_bytes(), group.memory_limit_bytes()) == (None, None, None)

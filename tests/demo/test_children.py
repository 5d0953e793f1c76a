import os
import signal
import textwrap
from pathlib import Path

import psutil
import pytest

from forestay.demo.children import Child, ChildFailed, Children

pytestmark = pytest.mark.process


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that does what its first argument says; children find it by PYTHONPATH."""
    (tmp_path / "actor.py").write_text(
        textwrap.dedent(
            """
            import signal, subprocess, sys, time
            what = sys.argv[1]
            if what == "fail":
                sys.exit("no such luck")
            if what == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if what == "parent":
                subprocess.Popen([sys.executable, "-m", "actor", "stubborn", sys.argv[2]], start_new_session=True)
            print("acting", flush=True)
            time.sleep(0 if what == "brief" else 60)
            """
        ),
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "actor"


def acting(child: Child) -> bool | None:
    return "acting" in child.log.read_text(encoding="utf-8") or None


def test_a_child_that_ends_unasked_is_reported_with_the_tail_of_its_log(tmp_path: Path, module: str) -> None:
    with Children(tmp_path, str(tmp_path)) as children:
        child = children.start("unlucky", module, "fail")
        with pytest.raises(
            ChildFailed, match=r"unlucky ended with exit code 1\nthe end of .*unlucky\.log:\nno such luck"
        ):
            child.wait_for(lambda: acting(child), 10.0, "act")
        with pytest.raises(ChildFailed, match="no such luck"):
            children.check()


def test_a_child_that_was_killed_on_purpose_is_no_failure(tmp_path: Path, module: str) -> None:
    with Children(tmp_path, str(tmp_path)) as children:
        child = children.start("victim", module, "sleep")
        child.kill()
        children.check()
        assert child.process.returncode == -signal.SIGKILL


def test_what_a_child_was_to_do_in_time_is_waited_for_no_longer(tmp_path: Path, module: str) -> None:
    with Children(tmp_path, str(tmp_path)) as children:
        child = children.start("slow", module, "sleep")
        with pytest.raises(ChildFailed, match=r"slow did not fly within 0\.1 s"):
            child.wait_for(lambda: None, 0.1, "fly")
        with pytest.raises(ChildFailed, match=r"slow did not end within 0\.1 s"):
            child.finish(0.1)


def test_the_end_of_a_child_that_was_to_end_is_no_failure(tmp_path: Path, module: str) -> None:
    with Children(tmp_path, str(tmp_path)) as children:
        children.start("brief", module, "brief").finish(10.0)
        children.check()


def test_nothing_is_left_behind_however_stubborn(tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forestay.demo.children.STOP_S", 0.5)
    before = set(psutil.Process().children(recursive=True))
    with Children(tmp_path, str(tmp_path)) as children:
        parent = children.start("parent", module, "parent", str(tmp_path))
        stubborn = children.start("stubborn", module, "stubborn")
        for child in (parent, stubborn):
            child.wait_for(lambda child=child: acting(child), 10.0, "act")  # type: ignore[misc]  # bound now
        (grandchild,) = psutil.Process(parent.pid).children()
        parent.kill()  # as a crash would: now nobody knows whose child it was
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    assert set(psutil.Process().children(recursive=True)) <= before
    assert stubborn.process.returncode == -signal.SIGKILL


def test_children_do_not_get_the_ctrl_c_of_the_terminal(tmp_path: Path, module: str) -> None:
    with Children(tmp_path, str(tmp_path)) as children:
        child = children.start("child", module, "sleep")
        child.wait_for(lambda: acting(child), 10.0, "act")
        assert os.getpgid(child.pid) != os.getpgid(0)

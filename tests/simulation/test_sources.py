from pathlib import Path

import pytest

from forestay.simulation import sources
from forestay.simulation.sources import code_hash, needed


def names(*modules: str) -> set[str]:
    return {str(path.relative_to(sources.ROOT)) for path in needed(*modules)}


def test_what_a_peer_depends_on_is_the_engine_and_the_model_but_not_the_core() -> None:
    found = names("forestay.simulation.engine", "forestay.simulation.peers.prequal")
    assert {"simulation/world.py", "simulation/servers.py", "simulation/peers/peer.py", "model/load.py"} <= found
    assert not [name for name in found if name.startswith(("balancer/", "forecasting/", "service/"))]


def test_reports_and_statistics_decide_nothing_about_a_run() -> None:
    found = names("forestay.simulation.engine", "forestay.simulation.peers", "forestay.balancer")
    assert not {"simulation/comparison.py", "simulation/statistics.py", "simulation/report_table.py"} & found


def test_what_forestay_depends_on_is_the_whole_core() -> None:
    assert {"balancer/balancer.py", "forecasting/survival.py", "placement/fitness.py"} <= names("forestay.balancer")


def test_a_module_by_any_spelling_of_its_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "forestay", monkeypatch)
    assert names("forestay.a") == {"a.py", "b.py", "c/__init__.py", "c/d.py", "e.py"}


def test_an_edit_in_what_is_imported_changes_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "1" / "forestay", monkeypatch)
    before = code_hash("forestay.a")
    tree(tmp_path / "2" / "forestay", monkeypatch)
    assert code_hash("forestay.a") == before
    tree(tmp_path / "3" / "forestay", monkeypatch, e="answer = 42\n")
    assert code_hash("forestay.a") != before


def test_an_edit_elsewhere_leaves_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "1" / "forestay", monkeypatch)
    before = code_hash("forestay.a")
    tree(tmp_path / "2" / "forestay", monkeypatch, f="answer = 42\n")
    assert code_hash("forestay.a") == before


def tree(root: Path, monkeypatch: pytest.MonkeyPatch, e: str = "", f: str = "") -> None:
    """A package in which a needs b, c, d and e, but not f."""
    (root / "c").mkdir(parents=True)
    texts = {
        "a.py": "import forestay.b\nfrom forestay.c import d, Name\nimport numpy\n",
        "b.py": "def late():\n    from forestay import e\n",
        "c/__init__.py": "Name = 1\n",
        "c/d.py": "",
        "e.py": e,
        "f.py": f,
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    monkeypatch.setattr(sources, "ROOT", root)

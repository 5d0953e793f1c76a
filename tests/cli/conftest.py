import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from forestay.cli import main


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Cli = Callable[..., Done]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `forestay ARGUMENTS` here, in an empty directory and an environment without FORESTAY_ variables."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **variables: str) -> Done:
        with monkeypatch.context() as patch:
            for name in os.environ:
                if name.startswith("FORESTAY_"):
                    patch.delenv(name)
            for name, value in {"COLUMNS": "120", "NO_COLOR": "1", **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["forestay", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        shown = capsys.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, shown.out, shown.err)

    return run

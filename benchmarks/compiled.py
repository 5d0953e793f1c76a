"""The two C programs of the relay benchmark, compiled when they are needed.

Load and backend share the machine with the proxy under test: in Python they would be the bottleneck.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import BenchmarkFailed

SOURCES = Path(__file__).with_name("native")


def compile_into(directory: Path) -> dict[str, Path]:
    """Programs by name: "load" and "backend".

    Raises:
        BenchmarkFailed: there is no C compiler, or it refuses.
    """
    compiler = find_compiler()
    programs = {}
    for name in ("load", "backend"):
        programs[name] = directory / name
        command = [*compiler, "-O2", "-Wall", "-o", str(programs[name]), str(SOURCES / f"{name}.c")]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if result.returncode:
            raise BenchmarkFailed(f"{' '.join(command)} failed:\n{result.stderr}")
    return programs


def find_compiler() -> list[str]:
    """Command that compiles C.

    Raises:
        BenchmarkFailed: there is none.
    """
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BenchmarkFailed(
        "no C compiler for the load generator: apt-get install gcc libc6-dev, "
        f"or {sys.executable} -m pip install ziglang"
    )

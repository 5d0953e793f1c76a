import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from forestay.registries.sqlite import SqliteStore
from forestay.registries.store import Compacted, Delete, DeletePrefix, Indeterminate, Put, Unavailable, Unusable


@asynccontextmanager
async def opened(path: Path, size_bytes_max: int | None = None) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, size_bytes_max)
    try:
        yield store
    finally:
        await store.close()


async def filled(path: Path, items: int = 50) -> None:
    """A closed store with some pages in it."""
    async with opened(path) as store:
        await store.commit([Put(b"k/%04d" % n, os.urandom(1000)) for n in range(items)])


async def test_a_second_open_is_refused_and_names_the_process_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    async with opened(path):
        with pytest.raises(Unusable, match=f"in use by process {os.getpid()}"):
            await SqliteStore.open(path)
    async with opened(path):
        pass  # free again


async def test_a_truncated_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    await filled(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(Unusable, match=r"damaged.*move it away"):
        await SqliteStore.open(path)


async def test_a_file_with_overwritten_pages_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    await filled(path)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(40_000))
    with pytest.raises(Unusable, match=r"damaged.*move it away"):
        await SqliteStore.open(path)


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"precious " * 1000)
    with pytest.raises(Unusable, match="damaged"):
        await SqliteStore.open(path)
    assert path.read_bytes() == b"precious " * 1000


async def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(Unusable, match="another program"):
        await SqliteStore.open(path)
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    await filled(path, items=1)
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(Unusable, match="format 99"):
        await SqliteStore.open(path)


async def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="check the path"):
        await SqliteStore.open(tmp_path / "file" / "registry.db")


async def test_an_unfinished_write_ahead_log_loses_only_the_unfinished_commit(tmp_path: Path) -> None:
    path, copy = tmp_path / "registry.db", tmp_path / "copy.db"
    log, log_copy = (one.with_name(one.name + "-wal") for one in (path, copy))
    async with opened(path) as store:
        await store.commit([Put(b"first", bytes(5000))])
        whole_bytes = log.stat().st_size
        await store.commit([Put(b"second", bytes(5000))])
        copy.write_bytes(path.read_bytes())  # what a power cut in the middle of the second commit leaves behind
        log_copy.write_bytes(log.read_bytes()[: whole_bytes + 2000])
    async with opened(copy) as store:
        assert [item.key for item in (await store.read(b"")).items] == [b"first"]
        await store.commit([Put(b"third", b"")])


async def test_a_full_store_refuses_commits_without_effect_and_recovers_when_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path / "registry.db", size_bytes_max=1 << 20) as store:
        written = 0

        async def fill() -> None:
            nonlocal written
            while True:
                await store.commit([Put(b"k/%04d" % written, bytes(100_000))])
                written += 1

        with pytest.raises(Unavailable, match=r"disk full|size limit"):
            await fill()
        assert written >= 8
        assert len((await store.read(b"k/")).items) == written
        await store.commit([Delete(b"k/0000")])
        await store.commit([Put(b"k/again", bytes(100_000))])
        assert len((await store.read(b"k/")).items) == written


async def test_a_commit_while_another_program_writes_is_refused_and_succeeds_later(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    async with opened(path) as store:
        shell = sqlite3.connect(path, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await store.commit([Put(b"k", b"")])
        shell.execute("ROLLBACK")
        shell.close()
        await store.commit([Put(b"k", b"")])


async def test_a_commit_that_runs_out_of_time_in_the_queue_is_never_applied(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    async with opened(path) as store:
        shell = sqlite3.connect(path, isolation_level=None)
        refused: list[bytes] = []
        for attempt in range(100):  # the file's thread may be quicker than we are
            shell.execute("BEGIN IMMEDIATE")
            holding_up = asyncio.create_task(store.commit([Put(b"first", b"")], timeout_s=5.0))
            await asyncio.wait({holding_up}, timeout=0.02)
            key = b"late/%d" % attempt
            try:
                await store.commit([Put(key, b"")], timeout_s=0.01)
            except (Unavailable, Indeterminate) as error:
                if isinstance(error, Unavailable) and "time ran out" in str(error):
                    refused.append(key)
            shell.execute("ROLLBACK")
            await asyncio.gather(holding_up, return_exceptions=True)
            if refused:
                break
        shell.close()
        await store.commit([Put(b"last", b"")])
        assert refused, "the queue never held a commit up"
        assert refused[0] not in [item.key for item in (await store.read(b"")).items]


async def test_keys_of_sessions_do_not_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    script = (
        "import asyncio, os, sys\n"
        "from forestay.registries.sqlite import SqliteStore\n"
        "from forestay.registries.store import Put\n"
        "async def main():\n"
        "    store = await SqliteStore.open(sys.argv[1])\n"
        "    session = await store.session(60.0)\n"
        "    await store.commit([Put(b'leased', b'', session.id), Put(b'stays', b'')])\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, str(path)], check=True, timeout=30)
    async with opened(path) as store:
        assert [item.key for item in (await store.read(b"")).items] == [b"stays"]


async def test_a_watch_from_an_earlier_life_is_compacted(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    async with opened(path) as store:
        first = await store.commit([Put(b"k", b"1")])
        await store.commit([Put(b"k", b"2")])
    async with opened(path) as store, aclosing(store.watch(b"", first)) as watch:
        with pytest.raises(Compacted):
            await anext(watch)


async def test_many_concurrent_commits_are_grouped_and_all_applied_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "registry.db") as store:
        start = (await store.read(b"")).revision
        revisions = await asyncio.gather(
            *(store.commit([Put(b"k/%04d" % n, b"")], timeout_s=30.0) for n in range(1000))
        )
        assert sorted(revisions) == list(range(start + 1, start + 1001))
        assert len((await store.read(b"k/")).items) == 1000


async def test_closing_answers_everyone_who_still_waits(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "registry.db")
    waiting = [asyncio.create_task(store.commit([Put(b"k/%04d" % n, b"")], timeout_s=30.0)) for n in range(600)]
    reading = [asyncio.create_task(store.read(b"k/")) for _ in range(10)]
    await asyncio.sleep(0)  # they have asked, and more of them than the queue holds
    await store.close()
    async with asyncio.timeout(10.0):
        answers = await asyncio.gather(*waiting, *reading, return_exceptions=True)
    assert all(not isinstance(answer, BaseException) or isinstance(answer, Unavailable) for answer in answers)
    assert any(isinstance(answer, int) for answer in answers)
    assert isinstance(answers[-1], Unavailable)


async def test_the_file_does_not_grow_when_as_much_is_deleted_as_is_put(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    async with opened(path) as store:
        sizes = []
        for turn in range(6):
            for n in range(20):
                await store.commit([Put(b"j/%d/%d" % (turn, n), bytes(50_000))])
            await store.commit([DeletePrefix(b"j/%d/" % turn)])
            sizes.append(path.stat().st_size)
    assert sizes[-1] <= 1.1 * max(sizes[:2])


@pytest.mark.process
async def test_a_write_that_the_system_refuses_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    script = (
        "import asyncio, os, resource, sys\n"
        "from forestay.registries.sqlite import SqliteStore\n"
        "from forestay.registries.store import Indeterminate, Put, Unavailable\n"
        "async def main():\n"
        "    store = await SqliteStore.open(sys.argv[1])\n"
        "    await store.commit([Put(b'before', b'')])\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "    try:\n"
        "        for n in range(10):\n"
        "            await store.commit([Put(b'k', os.urandom(100_000))])\n"
        "    except (Unavailable, Indeterminate) as error:\n"
        "        print('refused', error)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    await store.commit([Put(b'after', b'')])\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, run.stderr
    assert "refused" in run.stdout
    assert "check the disk" in run.stdout or "disk full" in run.stdout
    async with opened(path) as store:
        keys = [item.key for item in (await store.read(b"")).items]
    assert {b"before", b"after"} <= set(keys)

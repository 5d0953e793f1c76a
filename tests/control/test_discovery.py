import asyncio
import socket
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.control.discovery import Answers, DnsDiscovery, lookup
from forestay.model.errors import InvalidInput


class Changes:
    def __init__(self) -> None:
        self.seen: list[tuple[list[str], list[str]]] = []

    def __call__(self, added: Sequence[str], removed: Sequence[str]) -> None:
        self.seen.append((list(added), list(removed)))


class Resolver:
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, name: str, port: int) -> Iterable[str]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_answers_are_told_as_what_came_and_what_went() -> None:
    changes = Changes()
    discovery = DnsDiscovery("chat", 80, changes, lookup=Resolver(["b:80", "a:80"], ["a:80", "b:80"], ["c:80", "a:80"]))
    assert [await discovery.refresh() for _ in range(3)] == ["changed", "same", "changed"]
    assert changes.seen == [(["a:80", "b:80"], []), (["c:80"], ["b:80"])]
    assert discovery.current == ("a:80", "c:80")


@pytest.mark.parametrize("answer", [[], socket.gaierror(-2, "Name or service not known"), TimeoutError()])
async def test_no_usable_answer_keeps_the_last_one_and_says_so(answer: Sequence[str] | OSError) -> None:
    changes = Changes()
    discovery = DnsDiscovery("chat", 80, changes, lookup=Resolver(["a:80"], answer, ["a:80"]))
    await discovery.refresh()
    assert await discovery.refresh() in ("empty", "failed")
    assert discovery.current == ("a:80",)
    assert discovery.kept_last
    assert await discovery.refresh() == "same"
    assert not discovery.kept_last
    assert changes.seen == [(["a:80"], [])]


async def test_a_hanging_lookup_is_neither_waited_for_beyond_the_timeout_nor_joined_by_another() -> None:
    released = asyncio.Event()
    asked = 0

    async def hang(name: str, port: int) -> Iterable[str]:
        nonlocal asked
        asked += 1
        await released.wait()
        return ["a:80"]

    changes = Changes()
    discovery = DnsDiscovery("chat", 80, changes, lookup=hang, timeout_s=0.01)
    assert [await discovery.refresh() for _ in range(3)] == ["timeout"] * 3
    assert asked == 1
    assert discovery.kept_last
    released.set()
    assert await discovery.refresh() == "changed"
    assert changes.seen == [(["a:80"], [])]


async def test_run_keeps_looking_up_until_cancelled() -> None:
    resolver = Resolver(["a:80"], socket.gaierror(-3, "try again"), ["b:80"], *[["b:80"]] * 1000)
    changed = asyncio.Event()
    discovery = DnsDiscovery(
        "chat", 80, lambda added, removed: changed.set() if removed else None, refresh_s=0.01, lookup=resolver
    )
    task = asyncio.create_task(discovery.run())
    await asyncio.wait_for(changed.wait(), 5.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert discovery.current == ("b:80",)
    assert discovery.lookups["failed"] == 1


async def test_the_system_resolver_finds_localhost_and_reports_an_unknown_name_as_an_error() -> None:
    assert "127.0.0.1:8080" in await lookup("localhost", 8080)
    assert await lookup("::1", 8080) == ["[::1]:8080"]
    discovery = DnsDiscovery("no-such-name.invalid", 80, Changes(), timeout_s=10.0)
    assert await discovery.refresh() == "failed"


def test_a_name_that_cannot_be_one_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match="not a host name"):
        DnsDiscovery("a" * 64 + ".internal", 80, Changes())


@given(st.lists(st.sets(st.sampled_from("abcdef")), max_size=20))
def test_the_changes_add_up_to_the_current_set_which_is_never_emptied(answers: list[set[str]]) -> None:
    state = Answers()
    known: set[str] = set()
    for answer in answers:
        change = state.take(answer)
        if change is not None:
            assert not known & set(change.added)
            assert set(change.removed) <= known
            known = (known | set(change.added)) - set(change.removed)
        assert known == set(state.current)
        assert known or not any(answers[: answers.index(answer) + 1])
        if answer:
            assert known == answer

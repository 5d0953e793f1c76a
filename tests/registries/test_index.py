from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forestay.registries.index import MERGE_MAX, SEGMENT_MAX, Index

KEYS = st.integers(0, 700).map(lambda number: b"%016d" % number)
ENDPOINTS = st.sampled_from(["a:1", "b:1", "c:1"])


class IndexMachine(RuleBasedStateMachine):
    """The index beside two dicts: what it should hold, and what its captures have written."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index()
        self.model: dict[bytes, tuple[str, bytes]] = {}
        self.written: dict[tuple[str, int], dict[bytes, bytes]] = {}

    @rule(keys=st.lists(KEYS, max_size=300, unique=True), endpoint=ENDPOINTS, body=st.binary(max_size=2))
    def put(self, keys: list[bytes], endpoint: str, body: bytes) -> None:
        for key in keys:
            assert self.index.put(key, endpoint, body) == (self.model.get(key) != (endpoint, body))
            self.model[key] = (endpoint, body)

    @rule(keys=st.lists(KEYS, max_size=300))
    def pop(self, keys: list[bytes]) -> None:
        for key in keys:
            assert self.index.pop(key) == self.model.pop(key, None)

    @rule(keep=st.integers(0, 20))
    def pop_all_but_every_nth(self, keep: int) -> None:
        for key in list(self.model):
            if keep == 0 or int(key) % keep:
                self.index.pop(key)
                del self.model[key]

    @rule()
    def capture_and_write(self) -> None:
        for captured in self.index.capture():
            name = (captured.endpoint_id, captured.number)
            if captured.records:
                self.written[name] = captured.records
            else:
                del self.written[name]  # a KeyError: deleted what was never written
        stored = {key: (name[0], body) for name, records in self.written.items() for key, body in records.items()}
        assert stored == self.model
        for endpoint in ("a:1", "b:1", "c:1"):
            sizes = [len(records) for name, records in sorted(self.written.items()) if name[0] == endpoint]
            assert all(0 < size <= SEGMENT_MAX for size in sizes)

    @precondition(lambda self: self.model)
    @rule()
    def load_what_was_written(self) -> None:
        self.capture_and_write()
        self.index = Index()
        for (endpoint, number), records in sorted(self.written.items()):
            self.index.load(endpoint, number, dict(records))

    @invariant()
    def everything_is_found_by_id_and_by_endpoint(self) -> None:
        assert len(self.index) == len(self.model)
        assert {key: (endpoint, body) for key, endpoint, body in self.index} == self.model
        assert all(self.index.get(key) == found for key, found in self.model.items())
        for endpoint in ("a:1", "b:1", "c:1"):
            assert self.index.count(endpoint) == sum(1 for found in self.model.values() if found[0] == endpoint)


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_an_endpoint_lists_its_connections_by_age() -> None:
    index = Index()
    for number in range(1000):
        index.put(b"%d" % number, "a:1", b"")
    for number in range(0, 1000, 3):
        index.pop(b"%d" % number)
    index.capture()
    assert [key for key, _ in index.on_endpoint("a:1")] == [b"%d" % n for n in range(1000) if n % 3]


def test_segments_that_shrink_are_merged_so_that_few_connections_take_few_segments() -> None:
    index = Index()
    for number in range(256 * 100):
        index.put(b"%d" % number, "a:1", b"")
    assert len(index.capture()) == 100
    for number in range(256 * 100):
        if number % 64:
            index.pop(b"%d" % number)
    index.capture()
    left = Index()
    left_segments = [captured for captured in _rewritten(index, left) if captured]
    assert len(left_segments) <= 2 * 400 / MERGE_MAX + 1


def _rewritten(index: Index, other: Index) -> list[int]:
    """Sizes of the segments of `index`: each body is changed once, so that all are captured again."""
    for key, endpoint_id, _ in list(index):
        index.put(key, endpoint_id, b"changed")
    return [len(captured.records) for captured in index.capture()]


def test_an_index_without_changes_captures_nothing() -> None:
    index = Index()
    index.put(b"k", "a:1", b"")
    index.capture()
    index.put(b"k", "a:1", b"")
    assert index.capture() == []


def test_a_connection_found_in_two_segments_is_where_it_was_read_last() -> None:
    index = Index()
    index.load("a:1", 1, {b"k": b"", b"other": b""})
    index.load("b:1", 2, {b"k": b""})
    assert index.get(b"k") == ("b:1", b"")
    assert index.count("a:1") == 1
    assert [(one.endpoint_id, list(one.records)) for one in index.capture()] == [("a:1", [b"other"])]

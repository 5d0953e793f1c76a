import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestay.settings import Settings, SettingsError, load_agent_settings, load_configuration, parse_assignments
from forestay.settings.loading import find_file


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FORESTAY_"):
            monkeypatch.delenv(name)


def written(directory: Path, text: str) -> Path:
    file = directory / "forestay.toml"
    file.write_text(text)
    return file


def problems_of(directory: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_configuration(written(directory, text))
    return str(caught.value)


class TestOrder:
    def test_flags_win_over_environment_over_file_over_defaults(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = written(
            tmp_path,
            """
            [clusters.chat]
            balancer = { threshold = 0.6, load_max = 0.8, queue_max = 3 }
            """,
        )
        monkeypatch.setenv("FORESTAY_CLUSTERS__CHAT__BALANCER__THRESHOLD", "0.61")
        monkeypatch.setenv("FORESTAY_CLUSTERS__CHAT__BALANCER__LOAD_MAX", "0.81")
        flags = parse_assignments(["clusters.chat.balancer.threshold=0.62"])

        configuration = load_configuration(file, flags)

        balancer = configuration.settings.clusters["chat"].balancer
        assert (balancer.threshold, balancer.load_max, balancer.queue_max) == (0.62, 0.81, 3)
        assert balancer.prefer_factor == 1.2
        base = ("clusters", "chat", "balancer")
        assert configuration.origins[*base, "threshold"] == "command line"
        assert configuration.origins[*base, "load_max"] == "FORESTAY_CLUSTERS__CHAT__BALANCER__LOAD_MAX"
        assert configuration.origins[*base, "queue_max"] == str(file)
        assert (*base, "prefer_factor") not in configuration.origins

    @pytest.mark.parametrize("text", ["10.0.0.1:80, [::1]:80", '["10.0.0.1:80", {"address": "[::1]:80"}]'])
    def test_the_environment_alone_describes_a_cluster(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("FORESTAY_CLUSTERS__CHAT__ENDPOINTS", text)
        monkeypatch.setenv("FORESTAY_CLUSTERS__CHAT__LISTENERS__PUBLIC__LISTEN", ":8080")
        cluster = load_configuration().settings.clusters["chat"]
        assert [endpoint.address for endpoint in cluster.endpoints] == ["10.0.0.1:80", "[::1]:80"]
        assert cluster.listeners["public"].listen == ":8080"

    def test_the_token_may_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORESTAY_SERVICE__TOKEN", "secret")
        monkeypatch.setenv("FORESTAY_SERVICE__LISTEN", "0.0.0.0:9900")
        assert load_configuration().settings.service.token.get_secret_value() == "secret"

    def test_an_unknown_section_in_the_environment_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORESTAY_SERVCE__TOKEN", "x")
        with pytest.raises(SettingsError, match=r'FORESTAY_SERVCE__TOKEN: .*did you mean "service"'):
            load_configuration()

    def test_what_kubernetes_puts_into_the_environment_is_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORESTAY_PORT", "tcp://10.0.0.1:80")
        monkeypatch.setenv("FORESTAY_SERVICE_HOST", "10.0.0.1")
        assert load_configuration().settings == Settings()

    def test_the_named_file_goes_before_the_searched_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        written(tmp_path, "")
        assert find_file() == Path("forestay.toml")
        monkeypatch.setenv("FORESTAY_CONFIG", "/elsewhere.toml")
        assert find_file() == Path("/elsewhere.toml")


class TestAssignments:
    def test_a_value_is_toml_or_else_a_plain_string(self) -> None:
        assert parse_assignments(["a.b=1", "a.c=x:1", 'a.d=["y"]', "e=true"]) == {
            "a": {"b": 1, "c": "x:1", "d": ["y"]},
            "e": True,
        }

    @pytest.mark.parametrize("text", ["a", "=1", "a b=1", "a.=1"])
    def test_what_is_no_assignment_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(SettingsError, match=r"--set .*e\.g\. --set log\.level"):
            parse_assignments([text])


class TestProblems:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[servce]\n", 'servce ({file}): unknown setting; did you mean "service"?'),
            ("[service]\ntokn = 'x'", 'service.tokn ({file}): unknown setting; did you mean "token"?'),
            (
                "clusters.chat.balancer = { treshold = 0.6 }",
                'clusters.chat.balancer.treshold ({file}): unknown setting; did you mean "threshold"?',
            ),
            (
                "clusters.chat.balancer = { threshold = 7 }",
                "clusters.chat.balancer.threshold = 7.0 ({file}): must lie in [0.01, 1.0]",
            ),
            (
                "clusters.chat.balancer = { queue_max = true }",
                "clusters.chat.balancer.queue_max ({file}): must be a number, not true or false",
            ),
            (
                "clusters.chat.endpoints = ['a:1', 'b']",
                'clusters.chat.endpoints[1].address = "b" ({file}): has no port: write "host:port", '
                'e.g. "10.0.0.1:8080" or "[::1]:8080"',
            ),
            (
                "clusters.chat.endpoints = ['a:1', 'a:1']",
                "clusters.chat.endpoints ({file}): a:1 stands twice: remove one",
            ),
            (
                "clusters.'bad name' = {}",
                'clusters."bad name" ({file}): names consist of letters, digits, "-" and "_"; rename it',
            ),
            (
                "clusters.chat.listeners.public = {}",
                "clusters.chat.listeners.public.listen: is missing; it has no default",
            ),
            (
                "clusters.chat.listeners.public = { listen = ':1', protocol = 'tpc' }",
                "clusters.chat.listeners.public.protocol = \"tpc\" ({file}): must be 'tcp' or 'http'",
            ),
            (
                "clusters.chat.health = { timeout_s = 2 }",
                "clusters.chat.health.timeout_s ({file}): must not exceed interval_s: "
                "lower timeout_s or raise interval_s",
            ),
            (
                "clusters.chat.dns = { name = 'a..b', port = 1 }",
                'clusters.chat.dns.name = "a..b" ({file}): is not a host name: write e.g. "chat.internal"',
            ),
            (
                f"process.runtime_dir = '/{'x' * 107}'\nclusters.chat = {{}}",
                "process.runtime_dir ({file}): is too long for the Unix sockets inside it: "
                "choose one that is 11 bytes shorter",
            ),
            (
                "[service]\nlisten = '0.0.0.0:9900'",
                "service.listen ({file}): is reachable from other machines and has no token: set service.token "
                "(or FORESTAY_SERVICE__TOKEN), or listen on 127.0.0.1",
            ),
            (
                "clusters.chat.listeners.public = { listen = ':9900' }",
                "clusters.chat.listeners.public.listen ({file}): collides with service.listen = '127.0.0.1:9900': "
                "give one of them another port",
            ),
        ],
    )
    def test_a_bad_value_is_named_with_its_source_and_the_remedy(self, tmp_path: Path, text: str, line: str) -> None:
        assert problems_of(tmp_path, text) == line.format(file=tmp_path / "forestay.toml")

    def test_a_scrape_that_cannot_work_is_refused(self, tmp_path: Path) -> None:
        text = "clusters.chat.scrape.metrics = { cpu = 'a{' }"
        assert problems_of(tmp_path, text).startswith("clusters.chat.scrape.metrics")

    def test_every_bad_value_is_named_at_once(self, tmp_path: Path) -> None:
        text = "[log]\nlevel = 'loud'\nformat = 'xml'\n"
        assert len(problems_of(tmp_path, text).splitlines()) == 2

    def test_a_secret_never_appears_in_an_error(self, tmp_path: Path) -> None:
        assert "1234567" not in problems_of(tmp_path, "[service]\ntoken = 1234567")

    @pytest.mark.parametrize(
        ("content", "words"),
        [(b"\xff", "not UTF-8"), (b"a = ", "not valid TOML"), (b"a = " + b"[" * 100_000, "TOML|nested")],
    )
    def test_a_file_that_is_not_toml_is_refused(self, tmp_path: Path, content: bytes, words: str) -> None:
        file = tmp_path / "forestay.toml"
        file.write_bytes(content)
        with pytest.raises(SettingsError, match=words):
            load_configuration(file)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="cannot be read: No such file"):
            load_configuration(tmp_path / "none.toml")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["a:1", ":8080", "tcp", "[::1]:9"])
)
KEYS = st.text(max_size=8) | st.sampled_from(
    [
        "service", "registry", "process", "log", "clusters", "listen", "token", "store", "path", "balancer",
        "endpoints", "health", "dns", "scrape", "listeners", "threshold", "address", "metrics", "runtime_dir", "policy",
        "chat", "_env_file",
    ]
)  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=5), max_leaves=25
)


def problems_or_none(load: Callable[[], object]) -> tuple[str, ...] | None:
    """What a SettingsError says; any other exception is a crash and passes through."""
    try:
        load()
    except SettingsError as error:
        return error.problems
    return None


class TestFuzz:
    @given(tree=st.dictionaries(KEYS, TREES, max_size=6))
    def test_any_tree_of_values_is_valid_or_refused_in_printable_lines(self, tree: dict[str, object]) -> None:
        problems = problems_or_none(lambda: load_configuration(None, tree))
        assert problems is None or (problems and all(problem.isprintable() for problem in problems))

    @given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_file_is_valid_or_refused(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "fuzz.toml"
        file.write_bytes(content)
        problems = problems_or_none(lambda: load_configuration(file))
        assert problems is None or problems

    @given(text=st.text(max_size=60))
    def test_any_assignment_is_read_or_refused(self, text: str) -> None:
        problems = problems_or_none(lambda: parse_assignments([text]))
        assert problems is None or "--set" in problems[0]


class TestAgent:
    REQUIRED = ("cluster=chat", "endpoint=10.0.0.1:80")

    def test_flags_win_over_environment_over_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = written(tmp_path, "cluster = 'a'\nendpoint = 'a:1'\ninterval_s = 2.0\n")
        monkeypatch.setenv("FORESTAY_AGENT__ENDPOINT", "b:1")
        monkeypatch.setenv("FORESTAY_AGENT__CLUSTER", "b")
        agent = load_agent_settings(file, parse_assignments(["cluster=c"]))
        assert (agent.cluster, agent.endpoint, agent.interval_s) == ("c", "b:1", 2.0)

    def test_lists_in_the_environment_are_separated_by_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORESTAY_AGENT__CONTROL_PLANES", "http://a:9900, http://b:9900")
        agent = load_agent_settings(None, parse_assignments(self.REQUIRED))
        assert agent.control_planes == ("http://a:9900", "http://b:9900")

    def test_a_misspelt_variable_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORESTAY_AGENT__CLUSTR", "chat")
        with pytest.raises(SettingsError, match=r'FORESTAY_AGENT__CLUSTR: .*did you mean "cluster"'):
            load_agent_settings(None, parse_assignments(self.REQUIRED))

    def test_what_is_missing_is_named(self) -> None:
        with pytest.raises(SettingsError, match="endpoint: is missing; it has no default"):
            load_agent_settings(None, parse_assignments(["cluster=chat"]))

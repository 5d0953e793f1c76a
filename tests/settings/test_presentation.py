from pathlib import Path

from forestay.settings import Settings, load_configuration, parse_assignments
from forestay.settings.presentation import effective

FLAGS = [
    "clusters.chat.endpoints=['a:1', { address = 'b:2', capacity = 2.0 }]",
    "clusters.chat.listeners.public.listen=:8080",
    "clusters.chat.scrape={ metrics = { cpu = 'x{a=\"b\"}' } }",
    'service.token="quote \\" and \\u007f"',
]


def test_what_is_shown_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    configuration = load_configuration(None, parse_assignments(FLAGS))
    file = tmp_path / "shown.toml"
    lines = [f"{key} = {value}" for key, value, _ in effective(configuration, show_secrets=True) if value]
    file.write_text("\n".join(lines))
    assert load_configuration(file).settings == configuration.settings


def test_each_setting_is_shown_with_its_source() -> None:
    shown = {
        key: (value, source) for key, value, source in effective(load_configuration(None, parse_assignments(FLAGS)))
    }
    assert shown["clusters.chat.policy"] == ('"forecast"', "default")
    assert shown["clusters.chat.listeners.public.listen"] == ('":8080"', "command line")
    assert shown["clusters.chat.balancer.threshold"] == ("0.7", "default")


def test_secrets_are_not_shown() -> None:
    shown = {key: value for key, value, _ in effective(load_configuration(None, parse_assignments(FLAGS)))}
    assert shown["service.token"] == '"*****"'


def test_defaults_show_every_section() -> None:
    sections = {key.split(".")[0] for key, _, _ in effective(load_configuration())}
    assert sections == set(Settings.model_fields)

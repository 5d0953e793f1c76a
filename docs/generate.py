"""Fills the tables of the documentation from the code and from the record of the demo, so that they cannot lie.

    python docs/generate.py            writes them
    python docs/generate.py --check    only says which pages are behind the code; exit code 1 if any is

A page holds a table between `<!-- generated:NAME -->` and `<!-- /generated -->`; the rest of the page is written by
hand. `BLOCKS` says which function makes which table.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel

from forestay.agent.settings import AgentSettings
from forestay.balancer import BalancerSettings
from forestay.cli.application import app
from forestay.dataplanes.relay.counters import GAUGES, Counters
from forestay.demo.summary import ROWS
from forestay.model.errors import InvalidInput
from forestay.service.api import create_app
from forestay.service.metrics import METRICS
from forestay.settings import models
from forestay.simulation.contenders import CONTENDERS
from forestay.simulation.scenario import Scenario, Section, names

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"

BLOCK = re.compile(r"(<!-- generated:([a-z_]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)

TABLES: Sequence[tuple[str, type[BaseModel]]] = (
    ("[service]", models.ServiceSettings),
    ("[registry]", models.RegistrySettings),
    ("[process]", models.ProcessSettings),
    ("[log]", models.LogSettings),
    ("[clusters.NAME]", models.ClusterSettings),
    ("items of clusters.NAME.endpoints", models.EndpointSettings),
    ("[clusters.NAME.dns]", models.DnsSettings),
    ("[clusters.NAME.health]", models.HealthSettings),
    ("[clusters.NAME.scrape]", models.ScrapeSettings),
    ("[clusters.NAME.listeners.NAME]", models.ListenerSettings),
    ("[clusters.NAME.shadow]", models.ShadowSettings),
)
"""TOML table by model, in the order of the page; that of the balancer follows its cluster's."""

UNITS = (
    ("_mbit_per_s", "Mbit/s"),
    ("_per_s", "per second"),
    ("_bytes", "bytes"),
    ("_s", "s"),
    ("port", "port"),
    ("ports", "port"),
    ("cpu_budget", "cores"),
)
"""Unit by the end of a name; the first that fits counts."""

FRACTIONS = frozenset({"threshold", "load_max", "memory_max"})

BOUNDS = (
    ("ge", "minimum", "≥"),
    ("gt", "exclusiveMinimum", ">"),
    ("le", "maximum", "≤"),
    ("lt", "exclusiveMaximum", "<"),
)
"""How pydantic and JSON schema call a bound, and its sign."""

METHODS = ("get", "post", "put", "delete")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a `|` in a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def prose(text: str) -> str:
    """A docstring's words on one line, in Markdown."""
    return re.sub(r"\s+", " ", text).strip().replace("<", "&lt;")


def sentence(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def code(text: str) -> str:
    """As code; nothing stays nothing."""
    return f"`{text}`" if text else ""


def unit(name: str) -> str:
    """Unit of a setting, by its name; "" for what has none."""
    if name in FRACTIONS:
        return "fraction"
    return next((words for end, words in UNITS if name.endswith(end)), "")


def attributes(owner: type) -> dict[str, str]:
    """What a docstring says under "Attributes:", by name."""
    section = inspect.getdoc(owner).partition("Attributes:\n")[2]  # type: ignore[union-attr] # ours all have docstrings
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if match := re.match(r"    ([a-z_0-9]+(?:, [a-z_0-9]+)*): (.*)", line):
            names = match[1].split(", ")
            found.update(dict.fromkeys(names, match[2]))
        elif line.startswith("        "):
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        elif line.strip():
            break
    return {name: prose(text) for name, text in found.items()}


# ---- settings


def settings() -> str:
    """Every setting of `forestay serve`."""
    parts = []
    for title, model in TABLES:
        parts.append(settings_section(title, model))
        if model is models.ClusterSettings:
            parts.append(balancer_section())
    return "\n".join(parts)


def agent_settings() -> str:
    """Every setting of `forestay agent`."""
    return settings_table(AgentSettings)


def settings_section(title: str, model: type[BaseModel]) -> str:
    """Heading, description and table of one TOML table."""
    return f"### `{title}`\n\n{prose(inspect.getdoc(model) or '')}\n\n{settings_table(model)}"


def settings_table(model: type[BaseModel]) -> str:
    """One row for each setting."""
    schema = model.model_json_schema()
    properties, required = schema["properties"], schema.get("required", [])
    return table(
        ("Setting", "Default", "Unit", "Values", "Meaning"),
        (
            (
                code(name),
                "required" if name in required else default(field),
                unit(name),
                values(field, schema.get("$defs", {})),
                prose(field.get("description", "")),
            )
            for name, field in properties.items()
        ),
    )


def default(field: Mapping[str, Any]) -> str:
    """A default as TOML would say it."""
    if "default" not in field:
        return "none" if field.get("type") == "object" else "see meaning"
    value = field["default"]
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return "those of its table"
    return code(toml(value))


def toml(value: Any) -> str:
    """A value in TOML; large numbers in groups of three."""
    if isinstance(value, bool | str | list):
        return json.dumps(value)
    return number(value)


def number(value: float) -> str:
    """A number as people write it."""
    return f"{int(value):_}" if value == int(value) and abs(value) >= 10_000 else f"{value:g}"


def values(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a setting may be."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(value(option, definitions) for option in options))


def value(kind: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What one alternative of a setting may be."""
    if "$ref" in kind:
        definition = definitions[kind["$ref"].rpartition("/")[2]]
        return value(definition, definitions)
    if "allOf" in kind:
        return value(kind["allOf"][0], definitions)
    if "enum" in kind:
        return ", ".join(code(f'"{option}"') for option in kind["enum"])
    if kind.get("type") == "array":
        return "list of " + value(kind.get("items", {}), definitions)
    if kind.get("type") == "object":
        return "table"
    if kind.get("type") == "boolean":
        return "true, false"
    if kind.get("format") == "path":
        return "path"
    words = {"number": "number", "integer": "whole number", "string": "text"}.get(kind.get("type", ""), "")
    bounds = [f"{sign} {number(kind[key])}" for *keys, sign in BOUNDS for key in keys if key in kind]
    if ">" in "".join(bounds) and any(bound.startswith("≥") for bound in bounds):
        bounds = [bound for bound in bounds if not bound.startswith(">")]  # the tighter one of the same side
    return f"{words} {', '.join(bounds)}".strip()


def balancer_section() -> str:
    """The settings of a balancer, a dataclass of the core: bounds as its own error messages name them."""
    meaning = attributes(BalancerSettings)
    rows = [
        (code(field.name), code(toml(field.default)),
         unit(field.name), balancer_values(field.name), sentence(meaning[field.name]))
        for field in fields(BalancerSettings)
    ]  # fmt: skip
    return "### `[clusters.NAME.balancer]`\n\nAny field of `forestay.BalancerSettings`.\n\n" + table(
        ("Setting", "Default", "Unit", "Values", "Meaning"), rows
    )


def balancer_values(name: str) -> str:
    """What a field may be, by asking for the impossible."""
    try:
        BalancerSettings(**{name: -1})  # type: ignore[arg-type] # on purpose
    except InvalidInput as error:
        if bounds := re.search(r"must lie in \[([^,]+), ([^\]]+)\]", str(error)):
            return f"{number(float(bounds[1]))} to {number(float(bounds[2]))}"
        return ", ".join(map(code, re.findall(r'"[a-z]+"', str(error))))
    raise AssertionError(f"{name} takes anything: say in BalancerSettings what it may be")


# ---- command line


def commands() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    parts = [command_section("forestay", root)]
    for name, command in walk("forestay", root):
        parts.append(command_section(name, command))
    return "\n".join(parts)


def walk(path: str, group: Any) -> Iterable[tuple[str, Any]]:
    """Commands under a group, groups included, by their full name."""
    for name, command in getattr(group, "commands", {}).items():
        yield f"{path} {name}", command
        yield from walk(f"{path} {name}", command)


def command_section(name: str, command: Any) -> str:
    """One command; typed as Any because some versions of typer have a copy of click of their own."""
    lines = [f"### `{name}`\n", help_text(command.help or "") + "\n"]
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name in ("help", "install_completion", "show_completion"):
            continue
        rows.append(
            (parameter_names(parameter), parameter_variable(parameter), prose(getattr(parameter, "help", "") or ""))
        )
    if rows:
        lines.append(table(("Argument or option", "Variable", "Meaning"), rows))
    return "\n".join(lines)


def parameter_names(parameter: Any) -> str:
    """All spellings, with the placeholder of the value."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        return code(metavar or str(parameter.name).upper())
    names = sorted(parameter.opts, key=len)
    placeholder = "" if parameter.is_flag else f" {metavar or 'VALUE'}"
    return ", ".join(code(option) for option in [*names[:-1], names[-1] + placeholder])


def parameter_variable(parameter: Any) -> str:
    """The environment variable that stands in for an option."""
    return code(parameter.envvar) if isinstance(parameter.envvar, str) else ""


def help_text(text: str) -> str:
    """Help of a command in Markdown: its examples are written in bold."""
    return re.sub(
        r"\[bold\](.*?)\[/bold\]", lambda match: as_code_or_bold(match[1]), inspect.cleandoc(text), flags=re.DOTALL
    )


def as_code_or_bold(text: str) -> str:
    """A command line as code, any other word bold."""
    words = re.sub(r"\s+", " ", text)
    return code(words) if re.match(r"(forestay|FORESTAY_\w+=)", words) else f"**{words}**"


# ---- HTTP


def routes() -> str:
    """Every route of the API: the same document that it serves at /openapi.json."""
    document = create_app({}).openapi()
    definitions = document["components"]["schemas"]
    return "\n".join(
        route_section(method.upper(), path, operations[method], definitions)
        for path, operations in document["paths"].items()
        for method in METHODS
        if method in operations
    )


def route_section(method: str, path: str, operation: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """One route: what it does, takes and answers."""
    parts = [f"### `{method} {path}`\n", f"**{operation['summary']}** {prose(operation.get('description', ''))}\n"]
    query = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    if query:
        rows = (
            (code(p["name"]), values(p["schema"], definitions), query_default(p), prose(p.get("description", "")))
            for p in query
        )
        parts.append(table(("Query", "Values", "Default", "Meaning"), rows))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        parts.append(body_table(body, definitions))
    answers = (
        f"{status} {answer_text(answer['description'])}".strip() for status, answer in operation["responses"].items()
    )
    parts.append("Answers: " + "; ".join(answers) + ".\n")
    return "\n".join(parts)


def answer_text(description: str) -> str:
    """What an answer means, where we said so and not FastAPI."""
    return "" if description in ("Successful Response", "Validation Error") else f"({prose(description)})"


def query_default(parameter: Mapping[str, Any]) -> str:
    """Default of a query parameter."""
    given = parameter["schema"].get("default")
    return "" if given is None else code(str(given).lower())


def body_table(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The fields of a request body."""
    while "properties" not in schema:
        options = [
            option for option in schema.get("anyOf") or schema.get("oneOf") or [schema] if option.get("type") != "null"
        ]
        schema = definitions[options[0]["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    rows = (
        (
            code(name),
            values(field, definitions),
            "required" if name in required else "",
            prose(field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    )
    return table(("Field", "Values", "", "Meaning"), rows)


# ---- metrics


def metrics() -> str:
    """Every metric."""
    rows = ((code(m.name), m.kind, m.unit, ", ".join(map(code, m.labels)), prose(m.help)) for m in METRICS)
    return table(("Metric", "Kind", "Unit", "Labels", "Meaning"), rows)


def relay_events() -> str:
    """What the label `event` of the relay's counter may be."""
    rows = ((code(name), sentence(text)) for name, text in attributes(Counters).items() if name not in GAUGES)
    return table(("Event", "Meaning"), rows)


# ---- the simulator


def scenarios() -> str:
    """The scenarios of the package."""
    return table(("Scenario", "What is hard there"), ((code(n), Scenario.named(n).description) for n in names()))


def scenario_fields() -> str:
    """Every field of a scenario, table by table."""
    parts = []
    for name, field in Scenario.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        for section in (kind for kind in kinds if issubclass(kind, Section)):
            brackets = f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"
            parts.append(settings_section(brackets, section))
    return "\n".join(parts)


def policies() -> str:
    """Everybody who can take part in a comparison."""
    return table(
        ("Policy", "Role", "What it does"),
        ((code(one.name), one.role, one.about) for one in CONTENDERS.values()),
    )


def placement() -> str:
    """The figures of the last `make bench-placement`, as far as they were judged."""
    path = DOCS.parent / "benchmarks/results/placement.json"
    if not path.exists():
        return "No figures are kept in the repository yet.\n"
    record = json.loads(path.read_text(encoding="utf-8"))
    about, verdicts = record["about"], record["verdicts"]
    words = {True: "holds", False: "**short**", None: "not judged"}
    rows = ((one["what"], one["asked"], words[one["holds"]], one["measured"]) for one in verdicts)
    seeds = " to ".join(map(str, sorted(set(about["seeds"]))))
    return (
        table(("Figure", "Asked", "", "Measured"), rows)
        + f"\nMade by `{about['command']}` on {about['date']}: {len(record['scenarios'])} scenarios, "
        f"{seeds} seeds each.\n"
    )


# ---- the demo


def demo() -> str:
    """The table of the run that made the picture, with the best of each row in bold."""
    record = json.loads((DOCS / "images/demo.json").read_text(encoding="utf-8"))
    policies = record["policies"]
    rows = []
    for field, label, form in ROWS:
        values = [policy[field] for policy in policies]
        shown = [format(value, form) for value in values]
        best = shown[values.index(min(values))]
        rows.append((label, *(f"**{cell}**" if cell == best and len(set(shown)) > 1 else cell for cell in shown)))
    loads = ", ".join(f"{policy['load_mean']:.2f}" for policy in policies)
    return (
        table(("Lower is better", *(policy["policy"].replace("_", " ") for policy in policies)), rows)
        + "\nMade by `forestay demo --plot docs/images/demo.png --json docs/images/demo.json` "
        f"(seed {record['seed']}): {policies[0]['messages']:,} messages each, mean load of the living servers "
        f"{loads}.\n"
    )


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "agent_settings": agent_settings,
    "commands": commands,
    "routes": routes,
    "metrics": metrics,
    "relay_events": relay_events,
    "scenarios": scenarios,
    "scenario_fields": scenario_fields,
    "policies": policies,
    "placement": placement,
    "demo": demo,
}


def filled(text: str) -> str:
    """A page with its tables made anew.

    Raises:
        KeyError: it has a block that nobody makes.
    """
    return BLOCK.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]()}\n{match[3]}", text)


def main() -> int:
    """Write, or with `--check` only compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a page is behind")
    check = parser.parse_args().check
    behind = []
    for page in [README, *sorted(DOCS.rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        wanted = filled(text)
        if text != wanted:
            behind.append(page.relative_to(DOCS.parent))
            if not check:
                page.write_text(wanted, encoding="utf-8")
    for page in behind:
        print(f"{page}: {'is behind the code: run python docs/generate.py' if check else 'written'}")
    return 1 if check and behind else 0


if __name__ == "__main__":
    sys.exit(main())

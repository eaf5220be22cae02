"""Sigma rules as detections: what pySigma parsed, told in portable SQL, or refused with the line that cannot be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from jackstop.cases.finding import Severity
from jackstop.errors import UserError
from jackstop.hunt.sigma.fields import SOURCES, Field, Source

if TYPE_CHECKING:
    from sigma.conditions import ConditionFieldEqualsValueExpression
    from sigma.rule import SigmaRule
    from sigma.types import SigmaString

MARK = "!"
"""Stands before a sign of LIKE that is meant as it is."""
WINDOW_US = 300_000_000
_LEVELS: dict[str, Severity] = {
    "informational": "info",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}
_ADDRESS = re.compile(r"[0-9a-f.:*?]*[0-9:][0-9a-f.:*?]*")
_TECHNIQUE = re.compile(r"t\d{4}(?:\.\d{3})?")
_EVIDENCE = ("account", "region", "service", "action")


class Made(NamedTuple):
    """A detection of the user's own: its name, and the texts of its two files."""

    name: str
    title: str
    sql: str
    description: str


class NotSaid(NamedTuple):
    """A rule that is no detection: where, and why."""

    file: str
    line: int
    title: str
    why: str


class _Refused(Exception):
    """A part of a rule that cannot be said. `field` is the field that it is about, or a section of the rule."""

    def __init__(self, why: str, field: str) -> None:
        super().__init__(why)
        self.why, self.field = why, field


def files_of(paths: list[str]) -> list[Path]:
    """The files, and those that end in yml or yaml in the folders. Raises UserError for one that is not there."""
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found.extend(
                sorted(each for each in path.rglob("*") if each.suffix in {".yml", ".yaml"} and each.is_file())
            )
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"there is no file {text}", "name a Sigma rule, or a folder with some", 2)
    return found


def detections_of(path: Path) -> Iterator[Made | NotSaid]:
    """What becomes of each rule in a file. Raises UserError where pySigma is not installed."""
    _require()
    try:
        text = path.read_text(encoding="utf-8")
        documents = [(node, _plain(node)) for node in yaml.compose_all(text, Loader=yaml.SafeLoader)]
    except (OSError, UnicodeDecodeError) as error:
        yield NotSaid(str(path), 1, "", f"it cannot be read: {error}")
        return
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        yield NotSaid(str(path), mark.line + 1 if mark else 1, "", "it is not YAML")
        return
    for number, (node, rule) in enumerate(documents, start=1):
        name = _name(path.stem, number if len(documents) > 1 else 0)
        yield _one(_Document(path, node, rule), name)


@dataclass(frozen=True)
class _Document:
    path: Path
    node: yaml.Node
    rule: Any

    def refused(self, why: str, field: str) -> NotSaid:
        title = self.rule.get("title") if isinstance(self.rule, dict) else ""
        return NotSaid(str(self.path), _line_of(self.node, field), str(title or ""), why)


def _one(document: _Document, name: str) -> Made | NotSaid:
    from sigma.exceptions import SigmaError
    from sigma.rule import SigmaRule

    rule = document.rule
    if not isinstance(rule, dict):
        return document.refused("it is no rule", "")
    if "correlation" in rule:
        return document.refused("it correlates events, and only rules on single events can be said", "correlation")
    if "filter" in rule or "action" in rule:
        return document.refused("it is about other rules", "filter" if "filter" in rule else "action")
    try:
        parsed = SigmaRule.from_dict(rule)
        return _made(parsed, name)
    except _Refused as refused:
        return document.refused(refused.why, refused.field)
    except SigmaError as error:
        section = "condition" if "ondition" in type(error).__name__ else "detection"
        return document.refused(f"pySigma cannot read it: {_first_line(error)}", section)


def _made(rule: SigmaRule, name: str) -> Made:
    source = _source(rule)
    if "timeframe" in (getattr(rule.detection, "custom_attributes", None) or {}):
        raise _Refused("it counts events within a time", "timeframe")
    conditions = [_sql(parsed.parsed, source) for parsed in rule.detection.parsed_condition]
    wanted = conditions[0] if len(conditions) == 1 else " OR ".join(f"({each})" for each in conditions)
    title = " ".join(str(rule.title or name).split())
    return Made(name, title, _select(source, wanted), _description(rule, title, source))


def _source(rule: SigmaRule) -> Source:
    given = rule.logsource
    source = SOURCES.get((given.product or "", given.service or ""))
    if source is None or given.category:
        known = ", ".join(f"{product}/{service}" for product, service in SOURCES if product != "jackstop")
        named = "/".join(filter(None, (given.product, given.category, given.service)))
        raise _Refused(f"its log source {named} is none of ours: {known}, jackstop/…", "logsource")
    return source


def _select(source: Source, wanted: str) -> str:
    groups = ", ".join(_EVIDENCE)
    return f"""SELECT {source.entity} AS entity,
  MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count,
  {groups}, MAX(src_net) AS src_net, MAX(client) AS client, MAX(outcome) AS outcome
FROM events
WHERE source = '{source.name}' AND ({wanted})
GROUP BY {source.entity},
  ts - mod(ts, {WINDOW_US}), {groups}
"""  # noqa: S608 -- every text in it was quoted, and it only ever reads


def _description(rule: SigmaRule, title: str, source: Source) -> str:
    said = " ".join((rule.description or title).split())
    author = f" by {rule.author}" if rule.author else ""
    licence = f", {rule.license}" if getattr(rule, "license", None) else ""
    about = {
        "id": f"SIGMA-{rule.id}" if rule.id else f"SIGMA-{title}",
        "title": title.rstrip("."),
        "meaning": said if said.endswith(".") else f"{said}.",
        "severity": _LEVELS[rule.level.name.lower()] if rule.level else "low",
        "attack": sorted({tag.name.upper() for tag in rule.tags if _TECHNIQUE.fullmatch(tag.name)}),
        "atlas": [],
        "sources": [source.name],
        "window": "5m",
        "cadence": "5m",
        "false_positives": [str(each) for each in rule.falsepositives],
        "what_to_do": ["Ask whoever the entity is whether they did it, and look at what they did before and after."],
        "references": [f'Sigma rule "{title}"{author}{licence}', *map(str, rule.references)],
        "tests": [],
    }
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=118)


# -- conditions ------------------------------------------------------------------------------------------------------


def _sql(node: Any, source: Source) -> str:
    from sigma.conditions import (
        ConditionAND,
        ConditionFieldEqualsValueExpression,
        ConditionNOT,
        ConditionOR,
        ConditionValueExpression,
    )

    if isinstance(node, ConditionAND | ConditionOR):
        word = " AND " if isinstance(node, ConditionAND) else " OR "
        parts = [_sql(each, source) for each in node.args]
        return f"({word.join(parts)})" if len(parts) > 1 else parts[0]
    if isinstance(node, ConditionNOT):
        return f"NOT {_bracketed(_sql(node.args[0], source))}"
    if isinstance(node, ConditionFieldEqualsValueExpression):
        return _comparison(node, source)
    if isinstance(node, ConditionValueExpression):
        raise _Refused("it looks for words anywhere in the record, which is not kept", "detection")
    raise _Refused(f"{type(node).__name__} cannot be said", "condition")


def _bracketed(sql: str) -> str:
    return sql if sql.startswith("(") and sql.endswith(")") else f"({sql})"


def _comparison(node: ConditionFieldEqualsValueExpression, source: Source) -> str:
    from sigma.types import (
        SigmaBool,
        SigmaCasedString,
        SigmaCIDRExpression,
        SigmaExists,
        SigmaNull,
        SigmaNumber,
        SigmaString,
    )

    field = source.fields.get(node.field.lower())
    if field is None:
        raise _Refused(f"the field {node.field} is not kept as it was", node.field)
    value = node.value
    if isinstance(value, SigmaBool) and field.within:
        found = f"(',' || {field.column} || ',' LIKE '%,{field.within},%')"
        return found if value.boolean else f"NOT {found}"
    if isinstance(value, SigmaNumber | SigmaBool) and not field.within:
        value = SigmaString(str(value).lower())
    if isinstance(value, SigmaString) and field.within:
        return _comparison(_truth(node, str(value)), source)
    if isinstance(value, SigmaNull):
        return f"{_whole(field)} = ''"
    if isinstance(value, SigmaExists):
        return f"{_whole(field)} {'<>' if value.exists else '='} ''"
    if isinstance(value, SigmaCIDRExpression):
        return _within(value.network, field, node.field)
    if isinstance(value, SigmaString):
        _check_plain(value, node.field)
        return _text(value, field, node.field, is_cased=isinstance(value, SigmaCasedString))
    raise _Refused(f"{_KINDS.get(type(value).__name__, 'this comparison')} cannot be said on every engine", node.field)


_KINDS = {
    "SigmaRegularExpression": "a regular expression",
    "SigmaFieldReference": "a comparison of two fields",
    "SigmaCompareExpression": "a comparison by size",
    "SigmaExpansion": "a list to be filled in",
    "SigmaQueryExpression": "a query of another engine",
    "SigmaTimestampPart": "a part of a time",
}


def _truth(node: ConditionFieldEqualsValueExpression, text: str) -> ConditionFieldEqualsValueExpression:
    from sigma.conditions import ConditionFieldEqualsValueExpression
    from sigma.types import SigmaBool

    if text.lower() not in {"true", "false"}:
        raise _Refused(f"{text!r} is neither true nor false", node.field)
    return ConditionFieldEqualsValueExpression(node.field, SigmaBool(text.lower() == "true"))


def _check_plain(value: SigmaString, field: str) -> None:
    if value.contains_placeholder():
        raise _Refused("a placeholder that nobody filled in", field)


def _whole(field: Field) -> str:
    """The column, or both where what is no address stands in another one."""
    return f"{field.column} || {field.others}" if field.others else field.column


def _within(network: ipaddress.IPv4Network | ipaddress.IPv6Network, field: Field, name: str) -> str:
    if field.column != "src_ip":
        raise _Refused("only addresses can be in a network", name)
    if isinstance(network, ipaddress.IPv6Network):
        raise _Refused("a network of IPv6 cannot be said as text", name)
    if network.prefixlen == 0:
        return "src_ip LIKE '%.%'"
    octets = -(-network.prefixlen // 8)
    starts = [
        ".".join(str(each.network_address).split(".")[:octets]) for each in network.subnets(new_prefix=octets * 8)
    ]
    parts = [f"src_ip = '{each}'" if octets == 4 else f"src_ip LIKE '{each}.%'" for each in starts]
    return f"({' OR '.join(parts)})" if len(parts) > 1 else parts[0]


def _text(value: SigmaString, field: Field, name: str, *, is_cased: bool) -> str:
    """Case does not matter in Sigma, unless said. `*` alone asks for any value."""
    from sigma.types import SpecialChars

    parts = list(value.s)
    plain = "".join(part for part in parts if isinstance(part, str))
    if field.words is not None:
        said = field.words.get(plain.lower()) if all(isinstance(part, str) for part in parts) else None
        if said is None:
            raise _Refused(f"{plain or '*'!r} is not told from others in {name}", name)
        return said
    if parts and all(part is SpecialChars.WILDCARD_MULTI for part in parts):
        return f"{_whole(field)} <> ''"
    column = field.column
    if field.suffix:
        column, parts = _without_suffix(field, parts)
    elif field.others and not _ADDRESS.fullmatch(_as_typed(parts).lower()):
        column = field.others
    return _matches(column, parts, is_cased=is_cased)


def _as_typed(parts: list[Any]) -> str:
    return "".join(part if isinstance(part, str) else "*" for part in parts)


def _without_suffix(field: Field, parts: list[Any]) -> tuple[str, list[Any]]:
    """The column and what it is compared with: the end that we cut off is cut off here too, or put back on."""
    last = parts[-1] if parts else ""
    if isinstance(last, str) and last.lower().endswith(field.suffix):
        return field.column, [*parts[:-1], last[: -len(field.suffix)]]
    return f"{field.column} || '{field.suffix}'", parts


def _matches(column: str, parts: list[Any], *, is_cased: bool) -> str:
    from sigma.types import SpecialChars

    plain, pattern, is_pattern, has_mark = "", "", False, False
    for part in parts:
        if not isinstance(part, str):
            pattern += "%" if part is SpecialChars.WILDCARD_MULTI else "_"
            is_pattern = True
            continue
        text = part if is_cased else part.lower()
        plain += text
        marked = re.sub(f"[%_{MARK}]", lambda found: MARK + found[0], text)
        has_mark = has_mark or marked != text or "\\" in text
        pattern += marked
    asked = column if is_cased else f"LOWER({column})"
    if not is_pattern:
        return f"{asked} = {_quoted(plain)}"
    return f"{asked} LIKE {_quoted(pattern)}" + (f" ESCAPE '{MARK}'" if has_mark else "")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# -- names and places ------------------------------------------------------------------------------------------------


def _name(stem: str, number: int) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    name = name if name[:1].isalpha() else f"sigma_{name}"
    return f"{name}_{number}" if number else name


def _plain(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _line_of(node: yaml.Node, field: str) -> int:
    """The line of the key that is a section or, with or without modifiers, a field; else where the rule begins."""
    top = list(_keys_of(node))
    inner = [each for key, value in top if key.value == "detection" for each in _keys_below(value)]
    for key in (*inner, *(key for key, _ in top)):
        if field and key.value.partition("|")[0] == field:
            return int(key.start_mark.line) + 1
    return int(node.start_mark.line) + 1


def _keys_of(node: yaml.Node) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield key, value


def _keys_below(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _keys_below(each)
    for key, value in _keys_of(node):
        yield key
        yield from _keys_below(value)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _require() -> None:
    try:
        import sigma.rule  # noqa: F401 -- only whether it is there
    except ImportError:
        raise UserError("Sigma rules need pySigma", "install it with: pip install 'jackstop[sigma]'") from None

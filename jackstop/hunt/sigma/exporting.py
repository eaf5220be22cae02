"""Detections as Sigma rules: those that say of each event whether it is wanted; of the others, why they do not."""

from __future__ import annotations

import re
import uuid
from typing import Any

import sqlglot
import yaml
from sqlglot import exp

from jackstop.detections.catalogue import Detection
from jackstop.errors import UserError
from jackstop.events.analytics import TABLES
from jackstop.hunt.sigma.fields import SOURCES

_LEVELS = {"info": "informational"}
_NAMES = uuid.UUID("5b6a7a52-6f1d-5d4b-9a4e-6e0a0b9f5c11")
"""Makes a rule's id out of a detection's name, the same each time."""


class _NotSingle(Exception):
    """It is no condition on single events; the text says why."""


def rule_of(detection: Detection) -> str:
    """The rule, in YAML. Raises UserError where the detection looks at more than one event."""
    about = detection.about
    try:
        wanted, sources = _condition(detection)
        selections: dict[str, Any] = {}
        condition = _told(wanted, selections)
    except _NotSingle as why:
        raise UserError(
            f"{detection.name} is no Sigma rule: {why}", "take its SQL: `jackstop detections show NAME --dialect D`", 2
        ) from None
    rule = {
        "title": about.title,
        "id": str(uuid.uuid5(_NAMES, detection.name)),
        "status": "experimental",
        "description": about.meaning,
        "references": list(about.references),
        "tags": [f"attack.{each.lower()}" for each in about.attack],
        "falsepositives": list(about.false_positives),
        "level": _LEVELS.get(about.severity, about.severity),
    }
    return "---\n".join(
        yaml.safe_dump(
            {
                **rule,
                "id": rule["id"] if number == 0 else str(uuid.uuid5(_NAMES, f"{detection.name}/{source}")),
                "logsource": {"product": "jackstop", "service": source},
                "detection": {**selections, "condition": condition},
            },
            sort_keys=False,
            allow_unicode=True,
            width=118,
        )
        for number, source in enumerate(sources)
    )


def _condition(detection: Detection) -> tuple[Any, list[str]]:
    """What stands behind WHERE, and of which log sources it is. Raises _NotSingle."""
    others = sorted(set(TABLES) & detection.tables)
    if others:
        raise _NotSingle(
            f"it reads the tables {', '.join(others)}" if others[1:] else f"it reads the table {others[0]}"
        )
    tree = sqlglot.parse_one(detection.sql, read="duckdb")
    if not isinstance(tree, exp.Select) or tree.args.get("having") or tree.args.get("with_") or tree.args.get("with"):
        raise _NotSingle("it counts events, or compares them with others")
    if tree.args.get("joins") or next(tree.find_all(exp.Subquery, exp.Exists, exp.Window), None):
        raise _NotSingle("it counts events, or compares them with others")
    where = tree.args.get("where")
    if where is None:
        raise _NotSingle("it wants all events")
    known = {service for product, service in SOURCES if product == "jackstop"}
    sources = [each for each in detection.about.sources if each in known]
    if not sources:
        raise _NotSingle("none of its sources has events")
    return where.this, sources


def _told(node: Any, selections: dict[str, Any]) -> str:
    """The condition in Sigma's words; what it compares goes into selections. Raises _NotSingle."""
    if isinstance(node, exp.Paren):
        return f"({_told(node.this, selections)})"
    if isinstance(node, exp.And | exp.Or):
        word = "and" if isinstance(node, exp.And) else "or"
        return f"{_told(node.left, selections)} {word} {_told(node.right, selections)}"
    if isinstance(node, exp.Not):
        return f"not {_told(node.this, selections)}"
    if isinstance(node, exp.NEQ):
        return f"not {_told(exp.EQ(this=node.this, expression=node.expression), selections)}"
    if node.args.get("negate"):
        affirmed = node.copy()
        affirmed.set("negate", None)
        return f"not {_told(affirmed, selections)}"
    column, value = _compared(node)
    name = f"selection_{len(selections) + 1}"
    selections[name] = {column: value}
    return name


def _compared(node: Any) -> tuple[str, Any]:
    column = node.this
    if isinstance(node, exp.EQ | exp.Like | exp.In) and isinstance(column, exp.Column):
        if isinstance(node, exp.In) and not node.args.get("query"):
            values = [_literal(each) for each in node.expressions]
            return f"{column.name}|cased", [_escaped(each) for each in values]
        if isinstance(node, exp.EQ):
            text = _literal(node.expression)
            return (f"{column.name}|cased", _escaped(text)) if text else (column.name, None)
        if isinstance(node, exp.Like):
            pattern = _literal(node.expression)
            return f"{column.name}|cased", _escaped(pattern).replace("%", "*").replace("_", "?")
    raise _NotSingle(f"`{node.sql()}` has no word in Sigma")


def _literal(node: Any) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise _NotSingle(f"`{node.sql()}` is no text")


def _escaped(text: str) -> str:
    return re.sub(r"([*?\\])", r"\\\1", text)

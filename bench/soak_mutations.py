"""Mutations of the detections' SQL that no test notices; aim: none. Some alone: `python -m bench.soak_mutations NAME…`.

Each mutation changes one thing: a comparison, a condition, a threshold, what is grouped or joined. Those that change
nothing that a finding could show stand in bench/mutations.yaml, with the reason, and were looked at by a person.
"""

import sys
from collections import Counter
from pathlib import Path

import hypothesis
import sqlglot
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlglot import exp

from jackstop.detections.catalogue import shipped
from jackstop.detections.testing import check, prepare
from tests.detections import test_monotone

EXAMPLES = 300
EQUIVALENT = Path(__file__).with_name("mutations.yaml")
COMPARISONS = {
    exp.GT: (exp.GTE, exp.LT),
    exp.GTE: (exp.GT, exp.LTE),
    exp.LT: (exp.LTE, exp.GT),
    exp.LTE: (exp.LT, exp.GTE),
    exp.EQ: (exp.NEQ,),
    exp.NEQ: (exp.EQ,),
}


def mutants(sql):
    """Every (label, mutated SQL)."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    seen = Counter()
    for place, node in enumerate(tree.walk()):
        for label, change in _changes(node):
            mutated = tree.copy()
            twin = next(each for number, each in enumerate(mutated.walk()) if number == place)
            change(twin)
            seen[label] += 1
            number = f" ({seen[label]})" if seen[label] > 1 else ""
            yield label + number, mutated.sql("duckdb")


def _changes(node):
    kind = type(node)
    for other in COMPARISONS.get(kind, ()):
        yield (
            f"{_text(node)} → {other.__name__}",
            lambda twin, other=other: twin.replace(other(this=twin.this, expression=twin.expression)),
        )
    if kind in {exp.And, exp.Or}:
        for side, stays in (("this", "expression"), ("expression", "this")):
            if type(node.args[side]) is not kind:
                yield f"without {_text(node.args[side])}", lambda twin, stays=stays: twin.replace(twin.args[stays])
    if kind in {exp.Where, exp.Having} and type(node.this) is not exp.And:
        yield f"without {_text(node)}", lambda twin: twin.pop()
    if kind is exp.Not:
        yield f"{_text(node)} → not negated", lambda twin: twin.replace(twin.this)
    if kind in {exp.Like, exp.In, exp.Exists} and type(node.parent) is not exp.Not:
        yield f"{_text(node)} → negated", lambda twin: twin.replace(exp.Not(this=exp.Paren(this=twin.copy())))
    if kind is exp.In and len(node.expressions) > 1:
        for number, item in enumerate(node.expressions):
            yield (
                f"{_text(node.this)} IN without {_text(item)}",
                lambda twin, number=number: twin.expressions[number].pop(),
            )
    if kind is exp.Literal and not node.is_string and not isinstance(node.parent, exp.DataType):
        value = int(node.this)
        for changed in sorted({value - 1, value + 1, value * 2} - {value}):
            yield (
                f"{_text(node)} → {changed} in {_text(node.parent)}",
                lambda twin, changed=changed: twin.replace(
                    exp.Literal.number(changed) if changed >= 0 else exp.Neg(this=exp.Literal.number(-changed))
                ),
            )
    if kind is exp.Group:
        for number, column in enumerate(node.expressions):
            yield (
                f"GROUP BY without {_text(column)}",
                lambda twin, number=number: twin.expressions[number].pop() if len(twin.expressions) > 1 else twin.pop(),
            )
    if kind in {exp.Min, exp.Max}:
        other = exp.Max if kind is exp.Min else exp.Min
        yield f"{_text(node)} → {other.__name__}", lambda twin, other=other: twin.replace(other(this=twin.this))
    if kind is exp.Distinct and isinstance(node.parent, exp.Count):
        yield f"{_text(node.parent)} → not distinct", lambda twin: twin.replace(twin.expressions[0])
    if kind is exp.Join and node.side == "LEFT":
        yield f"{_text(node)} → inner", lambda twin: twin.set("side", None)


def _text(node):
    text = " ".join(node.sql("duckdb").split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-27:]}"


def unnoticed(detection):
    """How many mutations there are, and the labels of those that no test of the detection notices."""
    prepared = [(example, prepare(example, detection.tables)) for example in detection.about.tests]
    left, total = [], 0
    try:
        for example, connection in prepared:
            problem = check(connection, detection, example)
            if problem:
                return 0, [f"its own test fails: {example.name}: {problem}"]
        for label, sql in mutants(detection.sql):
            total += 1
            changed = replace(detection, sql=sql)
            if not any(check(connection, changed, example) for example, connection in prepared):
                left.append(label)
    finally:
        for _, connection in prepared:
            connection.close()
    return total, left


def reviewed():
    """{detection: {label: why it changes nothing}}."""
    return yaml.safe_load(EQUIVALENT.read_text()) or {}


def _mutations(folder, seed):  # noqa: ARG001 -- every section is given a folder and a seed
    return list(_rows(shipped().values()))


def _rows(detections):
    known = reviewed()
    total, equivalent, left = 0, 0, []
    for detection in detections:
        number, labels = unnoticed(detection)
        excused = known.get(detection.name, {})
        total += number
        equivalent += len(excused)
        left += [f"{detection.name}: {label}" for label in labels if label not in excused]
        left += [f"{detection.name}: noticed, yet listed: {label}" for label in excused if label not in labels]
    yield "mutations of the SQL", total, "", True
    yield "of which change nothing, each looked at", equivalent, "", True
    yield "mutations that no test notices", len(left), "0", not left
    for each in left:
        yield "unnoticed", each, "", False


def _monotone(folder, seed):  # noqa: ARG001 -- as above
    more = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for check_one in test_monotone.PROPERTIES:
        problem = ""
        try:
            hypothesis.seed(seed)(more(given(test_monotone.histories(), st.data())(check_one)))()
        except AssertionError as error:
            problem = str(error).partition("\n")[0] or "it does not hold"
        yield f"{check_one.__name__.replace('_', ' ')}: {EXAMPLES} histories", problem or "held", "held", not problem


SECTIONS = {
    "mutations": ("mutations of the detections' SQL, and whether their tests notice", _mutations),
    "monotone": ("more events unmake no finding, and how often one looks makes no difference", _monotone),
}


def main():
    names = sys.argv[1:] or list(shipped())
    unknown = [name for name in names if name not in shipped()]
    if unknown:
        sys.exit(f"no such detection: {', '.join(unknown)}")
    held = True
    for what, figure, _, good in _rows(shipped()[name] for name in names):
        print(f"{'  ' if good else '! '}{what}: {figure}")
        held = held and good
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

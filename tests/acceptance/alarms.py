"""Control and worker killed between what is found and what is done and told about it; what must hold afterwards."""

import os
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing, contextmanager, suppress

import msgspec
from sqlalchemy import select

from jackstop.cases.finding import Finding, uid_of
from jackstop.errors import UserError
from jackstop.store import tables
from tests.acceptance.breaking import Breakable
from tests.acceptance.system import until
from tests.notify.receivers import http_receiver

WHSEC = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
REPORT_GAPS = (
    *("finding-written", "case-opened", "response-intended", "response-applied", "news-queued", "report-committed"),
)
"""In control, while it takes a report in."""
END_GAPS = ("response-ended",)
"""In control, when a response's time is over."""
DELIVERY_GAPS = ("news-taken", "news-sent", "delivery-committed")
"""In the worker, and in control when it hears that a message arrived."""
WORKER_GAPS = ("finding-found", "finding-reported")
"""In the worker, around its report; a canary's use is found by itself."""
GAPS = (*REPORT_GAPS, *END_GAPS, *DELIVERY_GAPS, *WORKER_GAPS)
_NEWEST_WORKER = 1 << 40


@contextmanager
def alarmed(folder, **environment):
    """A system with quick detections, short throttles and a webhook; and what the webhook's receiver got."""
    over = {
        "JACKSTOP_MODE": "enforce",
        "JACKSTOP_DETECTIONS_CADENCE_S": "1",
        "JACKSTOP_RESPONSES_THROTTLE_FOR": "1s",
        **environment,
    }
    system = Breakable(folder, workers=1, environment=over)
    with http_receiver() as receiver, closing(system):
        system.begin()
        url = {"url": f"{receiver.url}/hook"}
        system.tell("notify add", name="hook", kind="webhook", options=url, secret=WHSEC, min_severity="info")
        yield system, receiver


def kill_in(system, receiver, gap):
    """Kill whoever comes to this gap, let everything run again, and look at what was done and told."""
    canary = gap in WORKER_GAPS
    key = system.tell("key issue", owner="app@example.com", name=gap, canary=canary, budget=["1usd/day"][canary:])
    before = len(system.killed(gap))
    system.arm(gap)
    if canary:
        use(system, key["key"])
    else:
        report_until_taken(system, key["id"], "high" if gap in END_GAPS else "critical")
    until(lambda: len(system.killed(gap)) > before, f"a process dies in {gap}")
    system.wait_whole()
    done = "throttle" if gap in END_GAPS else "quarantine"
    until(
        lambda: sent(system, key["id"]) and over(system, key["id"], gap), f"after {gap} everything is done and told", 60
    )
    return check(system, receiver, key, done, gap)


def use(system, key):
    """One chat with a key; the answer's status and reason."""
    request = urllib.request.Request(
        f"{system.url}/openai/v1/chat/completions",
        b'{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}',
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("x-jackstop-reason")


def tell_until_answered(system, command, **args):
    """What a command in control answers, asked again while control is away."""

    def answer():
        with suppress(UserError, OSError):
            return system.tell(command, **args)

    return until(answer, f"control answers `{command}`", 60)


def report_until_taken(system, key_id, severity):
    """What a worker does: report until control has answered, however often that takes."""
    now_us = time.time_ns() // 1000
    entity = f"key:{key_id}"
    found = Finding(uid_of("model_spray", entity, 0), "model_spray", severity, entity, now_us - 10**6, now_us, 3)
    tell_until_answered(system, "findings report", epoch=_NEWEST_WORKER, findings=[msgspec.to_builtins(found)])


def case_of(system, key_id):
    found = [row for row in system.stored(select(tables.cases)) if row["entity"] == f"key:{key_id}"]
    return found[0]["id"] if found else None


def sent(system, key_id):
    """Whether the key has a case, and the news of its opening are sent."""
    case = case_of(system, key_id)
    opened = openings(system, case)
    return case is not None and bool(opened) and all(row["state"] == "sent" for row in opened)


def openings(system, case):
    """Messages that tell of the case's opening, alone or with what came right after it."""
    rows = [row for row in system.stored(select(tables.outbox)) if row["case_id"] == case and row["state"] != "grouped"]
    return [row for row in rows if any(each["kind"] == "case.opened" for each in row["payload"]["news"])]


def over(system, key_id, gap):
    """Whether a throttle whose end is looked at has ended."""
    return gap not in END_GAPS or system.tell("key show", id=key_id)["throttle_per_min"] is None


def check(system, receiver, key, action, gap):
    """Nothing is lost, and nothing was done twice."""
    entity = f"key:{key['id']}"
    cases = [row for row in system.stored(select(tables.cases)) if row["entity"] == entity]
    assert len(cases) == 1, f"{gap}: {cases}"
    case = system.tell("cases show", id=cases[0]["id"])
    findings = Counter(row["detection"] for row in case["findings"])
    assert max(findings.values()) == 1, f"{gap}: {findings}"
    made = [(row["action"], row["state"]) for row in case["responses"]]
    assert made == [(action, "expired" if gap in END_GAPS else "applied")], f"{gap}: {made}"
    entries = Counter(row["kind"] for row in case["entries"])
    assert entries["opened"] == entries["response"] == 1, f"{gap}: {entries}"
    acts = Counter(row["tag"] for row in system.stored(select(tables.audit)) if row["subject"] == entity)
    assert acts[f"system:key:{action}"] == 1, f"{gap}: {acts}"
    assert acts["system:key:release"] == (gap in END_GAPS), f"{gap}: {acts}"
    assert system.tell("audit verify")["ok"], gap
    if not gap.startswith("finding-") and action == "quarantine":
        until(lambda: use(system, key["key"]) == (403, "quarantined"), f"{gap}: the gates know of the quarantine")
    return _told(system, receiver, case["id"], gap)


def _told(system, receiver, case_id, gap):
    """How often the receiver got the one message about the case's opening: at least once."""
    rows = openings(system, case_id)
    assert len(rows) == 1, f"{gap}: {rows}"
    got = [each for each in receiver.got if each.headers["webhook-id"] == rows[0]["uid"]]
    assert got, f"{gap}: nothing arrived"
    return len(got)


def kill_at_random(system, receiver, chance, keys):
    """Reports one after the other while control and worker are killed again and again."""
    stop, kills = threading.Event(), Counter()

    def strike():
        while not stop.wait(chance.random()):
            kind = chance.choice(("control", "worker"))
            for pid in system.children()[kind]:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
                    kills[kind] += 1

    striker = threading.Thread(target=strike)
    striker.start()
    issued = []
    try:
        for number in range(keys):
            about = {"owner": "app@example.com", "name": f"random {number}", "budget": ["1usd/day"]}
            issued.append(tell_until_answered(system, "key issue", **about))
            report_until_taken(system, issued[-1]["id"], "critical")
    finally:
        stop.set()
        striker.join()
    system.wait_whole()
    told = 0
    for key in issued:
        until(lambda key=key: sent(system, key["id"]), "everything is told", 120)
        told += check(system, receiver, key, "quarantine", "random")
    return {"keys": len(issued), "kills": kills, "messages": told}

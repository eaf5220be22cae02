"""What a hunt could not see: one function for each kind of gap, with what it hides and how to close it.

What is logged by default and what is not: "Monitor Amazon Bedrock API calls using CloudTrail" and "Monitor
bedrock-mantle API calls using CloudTrail" of the Bedrock user guide, "Cloud Audit Logs overview" of Google Cloud, and
"Enable diagnostic logging for Azure AI services", as quoted in public copies that were read on 2026-11-23.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from jackstop.cases.finding import Finding
from jackstop.clock import iso
from jackstop.detections.catalogue import Detection
from jackstop.events.analytics import DAY_US
from jackstop.hunt.coverage import Act, Gap, Hole, Level, Seen, Span
from jackstop.hunt.intake.parts import SetAside

_HISTORY_US = 7 * DAY_US
_MANY_SET_ASIDE = 100
"""Blind from one record of so many on."""
_MANY_EVENTS = 1_000
"""An account with so many events has some in several regions: AWS's own services see to that."""
_DAMAGE = ("cut off", "damaged", "in the middle", "before its records do")
"""Words of reasons for which a part of a file was not read, beyond the one record."""
_LOGGING = "ModelInvocationLoggingConfiguration"

NAMES = (
    *("records.none", "records.set_aside", "files.damaged", "files.unknown", "detections.failed", "detections.unasked"),
    *("time.hole", "time.hours", "history.short"),
    *("aws.read_only", "aws.data_events", "aws.mantle", "aws.invocation_logs", "aws.one_region", "aws.cloudtrail"),
    *("gcp.data_access", "azure.request_response", "azure.activity"),
    *("openai.usage", "openai.audit", "anthropic.usage", "anthropic.activity"),
    *("addresses.masked", "addresses.none"),
)
"""Every gap there is."""


class Taken(msgspec.Struct, frozen=True):
    """What the gaps are told beside what is in the tables."""

    records: int
    set_aside: int
    first_set_aside: Sequence[SetAside]
    unknown: Sequence[tuple[str, str]]
    failed: dict[str, str]
    unasked: Sequence[str]
    ran: Sequence[Detection]
    findings: Sequence[Finding]


def gaps_of(seen: Seen, taken: Taken) -> list[Gap]:
    """All gaps, the blind ones first."""
    found = [*_records(seen, taken), *_times(seen), *_aws(seen), *_gcp(seen), *_azure(seen), *_vendors(seen)]
    found += [*_addresses(seen, taken), *_history(seen)]
    return sorted(found, key=lambda gap: (gap.level != "blind", gap.where, gap.name))


# -- what was not read -----------------------------------------------------------------------------------------------


def _records(seen: Seen, taken: Taken) -> Iterator[Gap]:
    if not seen.spans and not seen.buckets:
        yield Gap("records.none", "blind", "hunt", "no record was read", "everything", "give it logs: see docs/hunt.md")
    if taken.set_aside:
        level: Level = "blind" if taken.set_aside * _MANY_SET_ASIDE >= taken.records else "note"
        yield Gap(
            "records.set_aside",
            level,
            "hunt",
            f"{taken.set_aside:,} of {taken.records:,} records could not be read and were set aside",
            "whatever these records say",
            "look at them by file and line; export them again if a file was cut off",
        )
    damaged = sorted({each.file for each in taken.first_set_aside if any(word in each.why for word in _DAMAGE)})
    if damaged:
        yield Gap(
            "files.damaged",
            "blind",
            "hunt",
            f"{_files(len(damaged))} damaged or cut off in the middle: {', '.join(damaged[:3])}",
            "whatever was behind that place",
            "fetch them again",
        )
    if taken.unknown:
        yield Gap(
            "files.unknown",
            "note",
            "hunt",
            f"{_files(len(taken.unknown))} of no format that a hunt reads",
            "whatever is in them",
            "leave them out of the folder, or name their format with --source",
        )
    for name, why in sorted(taken.failed.items()):
        yield Gap(
            "detections.failed",
            "blind",
            f"detection:{name}",
            f"the detection failed: {why}",
            "what it looks for",
            f"see `jackstop detections test {name}`, and report it if that is well",
        )
    if taken.unasked:
        yield Gap(
            "detections.unasked",
            "note",
            "hunt",
            f"only detections that were named ran; {len(taken.unasked)} others would have fitted these logs",
            "what those look for",
            "run it without --detection",
        )


def _files(number: int) -> str:
    return "1 file is" if number == 1 else f"{number:,} files are"


# -- times -----------------------------------------------------------------------------------------------------------


def _times(seen: Seen) -> Iterator[Gap]:
    for span in seen.spans:
        unlikely = [hole for hole in span.holes if hole.usual]
        if unlikely:
            usual = sum(hole.usual for hole in unlikely)
            yield Gap(
                "time.hole",
                "blind",
                _where(span),
                f"no {span.source} record in {_hours(unlikely)}; as a rule there are {usual:,} then",
                "everything that was done then: somebody may have stopped the log, or files are missing",
                "fetch the files of these hours; look for who stopped or changed the log just before",
            )
        quiet = [hole for hole in span.holes if not hole.usual]
        if quiet:
            yield Gap(
                "time.hours",
                "note",
                _where(span),
                f"no {span.source} record in {_hours(quiet)}, while other accounts have some",
                "nothing, if the account was quiet; all that was done then, if files are missing",
                "compare with the files that the log's bucket has for these hours",
            )


def _hours(holes: Sequence[Hole]) -> str:
    total = sum(hole.hours for hole in holes)
    longest = sorted(holes, key=lambda hole: -hole.hours)[:2]
    told = ", ".join(f"{hole.hours} h from {iso(hole.first)[:13].replace('T', ' ')}:00" for hole in longest)
    return f"{total} {'hour' if total == 1 else 'hours'} ({told}{', …' if len(holes) > 2 else ''})"


def _history(seen: Seen) -> Iterator[Gap]:
    """A newcomer is somebody who was not there before: without a before, nobody can tell."""
    for span in seen.spans:
        if span.last_seen - span.first_seen < _HISTORY_US:
            yield Gap(
                "history.short",
                "note",
                _where(span),
                "the records reach over less than seven days",
                "nothing; but whoever is called new may only be seen for the first time: such findings say `unproven`, "
                "and are one step less severe",
                "add older logs, 30 to 90 days of them, to the same hunt",
            )


# -- AWS -------------------------------------------------------------------------------------------------------------


def _aws(seen: Seen) -> Iterator[Gap]:
    logged = {span.account for span in seen.of("bedrock_invocations")}
    for span in seen.of("cloudtrail"):
        if not span.read_only:
            yield Gap(
                "aws.read_only",
                "blind",
                _where(span),
                "there is no read-only event",
                "calls of models, which AWS marks as read-only, and who listed them or read logging and quotas",
                "record management events of the type `All` in the trail (ReadWriteType)",
            )
        yield from _bedrock_data(seen, span)
        yield from _mantle(seen, span)
        if span.account not in logged:
            yield _invocation_logs(seen, span)
        if len(span.regions) == 1:
            yield Gap(
                "aws.one_region",
                "blind" if span.events >= _MANY_EVENTS else "note",
                _where(span),
                "all records are of one region",
                "models called in other regions, which thieves look for first, if the trail is of one region",
                "make the trail a multi-region one, or add the other regions' folders",
            )
    trailed = {span.account for span in seen.of("cloudtrail")}
    for account in sorted(logged - trailed):
        yield Gap(
            "aws.cloudtrail",
            "blind",
            _place(account, "bedrock_invocations"),
            "there are invocation logs, and no CloudTrail of this account",
            "keys and users that were made, logging that was switched off, reconnaissance, refused calls",
            "add the account's CloudTrail files",
        )


def _bedrock_data(seen: Seen, span: Span) -> Iterator[Gap]:
    """InvokeModel and Converse are management events; what is left out below is recorded where data events are."""
    if seen.did("cloudtrail", span.account, lambda act: act.service != "bedrock-mantle" and _is_data(act)):
        return
    agents = seen.did("cloudtrail", span.account, lambda act: act.service.startswith("bedrock-agent"))
    yield Gap(
        "aws.data_events",
        "blind" if agents else "note",
        _where(span),
        "there is no data event of Bedrock" + (", though the account has agents or knowledge bases" if agents else ""),
        "calls of agents and flows, reading of knowledge bases, asynchronous and two-way streamed inference",
        "select data events of the `AWS::Bedrock::` types in the trail, which are paid (docs/cloud-logs.md)",
    )


def _is_data(act: Act) -> bool:
    return act.service.startswith("bedrock") and act.data_events > 0


def _mantle(seen: Seen, span: Span) -> Iterator[Gap]:
    acts = seen.did("cloudtrail", span.account, lambda act: act.service == "bedrock-mantle")
    if any(act.action_class == "inference" for act in acts):
        return
    used = f"{', '.join(sorted({act.action for act in acts}))} on bedrock-mantle, and no CreateInference"
    yield Gap(
        "aws.mantle",
        "blind",
        _where(span),
        used if acts else "there is no event of bedrock-mantle, which may mean that it was not used or is not recorded",
        "all inference through bedrock-mantle: its CreateInference is a data event, off by default, and has no "
        "invocation log",
        "select data events of `AWS::BedrockMantle::Project` and its sister types (docs/cloud-logs.md), or deny "
        "`bedrock-mantle:*` and accept this gap in the allow-list",
    )


def _invocation_logs(seen: Seen, span: Span) -> Gap:
    acts = seen.did("cloudtrail", span.account, lambda act: act.action.endswith(_LOGGING))
    off = [act for act in acts if act.action.startswith("Delete")]
    seen_acts = ", ".join(f"{act.action} at {iso(act.first_seen)[:16].replace('T', ' ')}" for act in acts)
    return Gap(
        "aws.invocation_logs",
        "blind" if off else "note",
        _where(span),
        "there is no model invocation log"
        + (f"; seen: {seen_acts}" if acts else "; nobody read or changed its configuration in this time"),
        "how much was used: tokens and cost of stolen use, refusals by the model"
        + (", and that from the deletion on by intent" if off else ""),
        "switch model invocation logging on, without texts (text, image and embedding delivery off), in every region",
    )


# -- Google and Azure ------------------------------------------------------------------------------------------------


def _gcp(seen: Seen) -> Iterator[Gap]:
    for span in seen.of("gcp_audit"):
        if span.data_events or seen.did("gcp_audit", span.account, lambda act: act.action_class == "inference"):
            continue
        yield Gap(
            "gcp.data_access",
            "blind",
            _where(span),
            "there is no Data Access log",
            "every call of a Vertex or Gemini model with a stolen key: these are data access, off by default",
            "enable DATA_READ and DATA_WRITE audit logs of aiplatform and generativelanguage; calls with an API key "
            "are then seen in the usage report of the key alone",
        )


def _azure(seen: Seen) -> Iterator[Gap]:
    managed = {span.account for span in seen.of("azure_activity")}
    called = {span.account for span in seen.of("azure_openai")}
    for account in sorted(managed | called):
        if not seen.did("azure_openai", account, lambda act: act.data_events > 0):
            yield Gap(
                "azure.request_response",
                "blind",
                _place(account, "azure_activity" if account in managed else "azure_openai"),
                "there is no call in a RequestResponse log of Azure OpenAI",
                "every call of a model with a stolen key: the activity log has only what is done to resources",
                "add a diagnostic setting with the categories RequestResponse and Audit to each resource",
            )
    for account in sorted(called - managed):
        yield Gap(
            "azure.activity",
            "blind",
            _place(account, "azure_openai"),
            "there is no activity log",
            "deployments, capacity and access that somebody added, keys that were listed or made anew",
            "export the subscription's activity log",
        )


# -- OpenAI and Anthropic --------------------------------------------------------------------------------------------


def _vendors(seen: Seen) -> Iterator[Gap]:
    for provider, audit, name in (
        ("openai", "openai_audit", "openai.audit"),
        ("anthropic", "anthropic_activity", "anthropic.activity"),
    ):
        has_usage = f"{provider}_usage" in seen.sources
        has_audit = audit in seen.sources
        if has_audit and not has_usage:
            yield Gap(
                f"{provider}.usage",
                "blind",
                f"source:{audit}",
                "there are no usage buckets",
                "use of a stolen key: the audit log has no calls of models",
                f"export the usage report by key and hour, and add it: see docs/hunt.md, {provider}_usage",
            )
        if has_usage and not has_audit:
            yield Gap(
                name,
                "blind",
                f"source:{provider}_usage",
                "there is no audit log",
                "keys, people and limits that somebody made, added or took away",
                f"export the organisation's audit log, and add it: see docs/hunt.md, {audit}",
            )


# -- addresses -------------------------------------------------------------------------------------------------------


def _addresses(seen: Seen, taken: Taken) -> Iterator[Gap]:
    for span in seen.spans:
        if span.masked:
            yield Gap(
                "addresses.masked",
                "note",
                _where(span),
                f"{span.masked:,} of {span.events:,} addresses are masked by the provider",
                "which of a network's addresses it was: they are told apart by /24 only",
                "take the addresses from a log of the network in front, if there is one",
            )
    addressed = sum(span.addressed for span in seen.spans)
    silent = ", ".join(sorted({each.name for each in taken.ran if each.about.needs}))
    if addressed and not any(span.located for span in seen.spans):
        yield Gap(
            "addresses.none",
            "note",
            "hunt",
            "no address data is loaded: countries, operators and kinds of networks are not known",
            f"use from several countries or operators at once ({silent or 'no detection of these logs asks'})",
            "`jackstop addresses import`: see docs/addresses.md",
        )


def _where(span: Span) -> str:
    return _place(span.account, span.source)


def _place(account: str, source: str) -> str:
    return f"account:{account}" if account else f"source:{source}"


def not_run(silent: Iterable[Detection]) -> dict[str, int]:
    """How many detections had nothing to look at, by the source that they would have read."""
    return dict(sorted(Counter(source for each in silent for source in each.about.sources).items()))


def unproven(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The detections that found somebody new without a history to be new in."""
    return tuple(sorted({each.detection for each in findings if each.evidence.get("history") == "unproven"}))

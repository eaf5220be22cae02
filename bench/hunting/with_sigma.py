"""A Python Sigma runner over the same files: `python -m bench.hunting.with_sigma LOGS`.

Rules as SigmaHQ writes them, parsed by pySigma and turned into Python functions over the decoded record; two processes,
each with half of the files. It looks at one record at a time: no baselines, no windows, and nothing is kept.
"""

import gzip
import json
import multiprocessing
import sys
import time
from pathlib import Path

import msgspec
from sigma.collection import SigmaCollection
from sigma.conditions import ConditionAND, ConditionNOT, ConditionOR
from sigma.types import SpecialChars

LISTING = "[DeleteModelInvocationLoggingConfiguration, PutModelInvocationLoggingConfiguration]"
RULES = [
    "eventSource: bedrock.amazonaws.com\n    eventName: [InvokeModel, Converse]\n    errorCode|contains: Denied",
    "eventSource: bedrock.amazonaws.com\n    errorMessage|contains: max_tokens",
    f"eventSource: bedrock.amazonaws.com\n    eventName: {LISTING}",
    "eventSource: bedrock.amazonaws.com\n    eventName: [PutUseCaseForModelAccess, CreateFoundationModelAgreement]",
    "eventSource: bedrock-mantle.amazonaws.com\n    eventName: CreateInference",
    "eventSource: iam.amazonaws.com\n    eventName: [CreateAccessKey, CreateLoginProfile, CreateUser]",
    "eventSource: iam.amazonaws.com\n    eventName|startswith: Attach\n    requestParameters.policyArn|endswith: s",
    "eventSource: cloudtrail.amazonaws.com\n    eventName: [StopLogging, DeleteTrail, UpdateTrail]",
    "eventSource: servicequotas.amazonaws.com\n    eventName: RequestServiceQuotaIncrease",
    "userIdentity.type: Root\n    eventName: ConsoleLogin",
]


def rule(selection):
    text = f"""
title: one of many
logsource: {{product: aws, service: cloudtrail}}
detection:
  hit:
    {selection}
  by_service:
    userIdentity.type: AWSService
  condition: hit and not by_service
level: medium
"""
    return matcher(SigmaCollection.from_yaml(text).rules[0].detection.parsed_condition[0].parsed)


def matcher(node):
    if isinstance(node, ConditionAND):
        parts = [matcher(each) for each in node.args]
        return lambda record: all(part(record) for part in parts)
    if isinstance(node, ConditionOR):
        parts = [matcher(each) for each in node.args]
        return lambda record: any(part(record) for part in parts)
    if isinstance(node, ConditionNOT):
        inner = matcher(node.args[0])
        return lambda record: not inner(record)
    return equals(node.field.split("."), node.value.s)


def equals(path, pattern):
    text = "".join(part for part in pattern if isinstance(part, str)).lower()
    first = isinstance(pattern[0], SpecialChars)
    last = isinstance(pattern[-1], SpecialChars)
    test = text.__eq__ if not first and not last else None

    def match(record):
        for name in path:
            record = record.get(name) if isinstance(record, dict) else None
        if not isinstance(record, str):
            return False
        value = record.lower()
        if test is not None:
            return test(value)
        return text in value if first and last else value.endswith(text) if first else value.startswith(text)

    return match


def run(files):
    rules = [rule(each) for each in RULES]
    records = hits = 0
    for path in files:
        for record in msgspec.json.decode(gzip.decompress(Path(path).read_bytes()))["Records"]:
            records += 1
            hits += sum(matches(record) for matches in rules)
    return records, hits


def main():
    files = sorted(str(path) for path in Path(sys.argv[1]).rglob("*.json.gz"))
    start = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(run, [files[::2], files[1::2]])
    seconds = time.monotonic() - start
    print(
        json.dumps(
            {"records": sum(each[0] for each in found), "hits": sum(each[1] for each in found), "seconds": seconds}
        )
    )


if __name__ == "__main__":
    main()

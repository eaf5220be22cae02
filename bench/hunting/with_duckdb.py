"""DuckDB alone, the same files to the same columns: `python -m bench.hunting.with_duckdb LOGS FILE`.

What SQL can say of a column is said; what it cannot (models' names without regions, networks of IPv6, templates of
messages) is left as it stands in the record, so that DuckDB has less to do. Its schema is detected from one file, the
fast way (`maximum_sample_files = 1`): that file holds one record with every field that is read.
"""

import gzip
import json
import sys
import time
from pathlib import Path

import duckdb

from jackstop.events.lake import SCHEMA

SAMPLE = {
    "eventVersion": "1.09",
    "eventID": "sample",
    "eventTime": "2026-01-01T00:00:00Z",
    "eventSource": "sample",
    "eventName": "sample",
    "awsRegion": "sample",
    "sourceIPAddress": "sample",
    "userAgent": "sample",
    "errorCode": "sample",
    "errorMessage": "sample",
    "requestID": "sample",
    "readOnly": True,
    "managementEvent": False,
    "eventCategory": "Data",
    "recipientAccountId": "sample",
    "userIdentity": {
        "type": "sample",
        "arn": "sample",
        "accountId": "sample",
        "accessKeyId": "sample",
        "userName": "sample",
        "invokedBy": "sample",
        "sessionContext": {"sessionIssuer": {"arn": "sample", "userName": "sample"}},
    },
    "requestParameters": {"modelId": "sample", "userName": "sample", "maxTokens": 1},
    "additionalEventData": {"inferenceRegion": "sample", "callWithBearerToken": True},
}
COLUMNS = {
    "source": "'cloudtrail'",
    "provider": "'aws'",
    "service": "replace(r.eventSource, '.amazonaws.com', '')",
    "account": "coalesce(r.userIdentity.accountId, r.recipientAccountId, '')",
    "region": "coalesce(r.awsRegion, '')",
    "inference_region": "coalesce(r.additionalEventData.inferenceRegion, '')",
    "provider_key_id": "coalesce(r.userIdentity.accessKeyId, '')",
    "key_kind": """CASE WHEN r.additionalEventData.callWithBearerToken THEN 'bearer'
        WHEN r.userIdentity.accessKeyId LIKE 'AKIA%' THEN 'long_lived'
        WHEN r.userIdentity.accessKeyId LIKE 'ASIA%' THEN 'temporary' ELSE '' END""",
    "auth_method": "CASE WHEN r.additionalEventData.callWithBearerToken THEN 'bearer' ELSE 'sigv4' END",
    "principal": "coalesce(r.userIdentity.sessionContext.sessionIssuer.arn, r.userIdentity.arn, '')",
    "principal_kind": "lower(coalesce(r.userIdentity.type, ''))",
    "session": """CASE WHEN r.userIdentity.type = 'AssumedRole' THEN split_part(r.userIdentity.arn, '/', 3)
        ELSE '' END""",
    "action": "r.eventName",
    "action_class": """CASE WHEN r.eventName IN ('InvokeModel', 'InvokeModelWithResponseStream', 'Converse',
        'ConverseStream', 'CreateInference') THEN 'inference'
        WHEN r.eventName IN ('ListFoundationModels', 'GetFoundationModelAvailability') THEN 'list_models'
        WHEN r.eventName IN ('CreateAccessKey', 'CreateLoginProfile') THEN 'key_admin' ELSE '' END""",
    "model_asked": "coalesce(r.requestParameters.modelId, '')",
    "model": "coalesce(r.requestParameters.modelId, '')",
    "target_id": "coalesce(r.requestParameters.userName, '')",
    "outcome": """CASE WHEN r.errorCode IS NULL THEN 'ok' WHEN r.errorCode LIKE '%Denied%' THEN 'denied'
        WHEN r.errorCode LIKE '%Validation%' THEN 'invalid' WHEN r.errorCode LIKE '%Throttl%' THEN 'throttled'
        ELSE 'error' END""",
    "error_code": "coalesce(r.errorCode, '')",
    "error_message": "left(coalesce(r.errorMessage, ''), 120)",
    "src_ip": "CASE WHEN r.sourceIPAddress LIKE '%.amazonaws.com' THEN '' ELSE coalesce(r.sourceIPAddress, '') END",
    "src_net": """CASE WHEN r.sourceIPAddress LIKE '%.%.%.%' AND r.sourceIPAddress NOT LIKE '%.com' THEN
        regexp_replace(r.sourceIPAddress, '[0-9]+$', '0/24') ELSE '' END""",
    "src_raw": "CASE WHEN r.sourceIPAddress LIKE '%.amazonaws.com' THEN r.sourceIPAddress ELSE '' END",
    "user_agent": "coalesce(r.userAgent, '')",
    "ua_state": "CASE WHEN r.userAgent IS NULL THEN 'absent' WHEN r.userAgent = '' THEN 'empty' ELSE 'present' END",
    "client": "lower(split_part(coalesce(r.userAgent, ''), '/', 1))",
    "markers": """concat_ws(',', CASE WHEN NOT r.managementEvent THEN 'data_event' END,
        CASE WHEN r.readOnly THEN 'read_only' END, CASE WHEN r.userIdentity.invokedBy <> '' THEN 'internal' END)""",
    "max_output_asked": "r.requestParameters.maxTokens",
    "ts": "epoch_us(CAST(r.eventTime AS TIMESTAMP))",
    "seen_ts": "0",
    "event_id": "md5(concat('aws', chr(10), CAST(r.eventID AS VARCHAR)))",
    "request_id": "coalesce(CAST(r.requestID AS VARCHAR), '')",
    "raw_ref": "concat(filename, '#', CAST(r.eventID AS VARCHAR))",
}
KINDS = {"string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN"}


def select(files):
    columns = []
    for field in SCHEMA:
        kind = KINDS[str(field.type)]
        default = "''" if kind == "VARCHAR" else "NULL"
        columns.append(f"CAST({COLUMNS.get(field.name, default)} AS {kind}) AS {field.name}")
    return f"""SELECT {", ".join(columns)} FROM (SELECT unnest(Records) AS r, filename FROM
        read_json({files!r}, filename = true, maximum_sample_files = 1, maximum_object_size = 1000000000))
        WHERE CAST(r.eventID AS VARCHAR) <> 'sample'"""


def main():
    logs, out = map(Path, sys.argv[1:])
    sample = out.with_suffix(".sample.json.gz")
    with gzip.open(sample, "wt") as file:
        json.dump({"Records": [SAMPLE]}, file)
    start = time.monotonic()
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
    files = [str(sample), *sorted(str(path) for path in logs.rglob("*.json.gz"))]
    connection.execute(f"COPY ({select(files)}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
    seconds = time.monotonic() - start
    (records,) = connection.execute(f"SELECT count(*) FROM '{out}'").fetchone()
    print(json.dumps({"records": records, "seconds": seconds}))


if __name__ == "__main__":
    main()

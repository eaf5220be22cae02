"""Bedrock's long-term API keys: service-specific credentials of an IAM user."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from jackstop.clock import from_datetime
from jackstop.providers.drivers import aws_logs, aws_metrics, trial
from jackstop.providers.drivers.answers import required, unless_gone
from jackstop.providers.drivers.aws_client import administrator, answered
from jackstop.providers.drivers.aws_iam import USAGE_PLACES, IamDriver
from jackstop.providers.drivers.aws_metrics import Buckets
from jackstop.providers.drivers.driver import (
    Administration,
    Created,
    Option,
    ProviderKey,
    Verdict,
)
from jackstop.secret import Secret

_API = "https://docs.aws.amazon.com/IAM/latest/APIReference/API_"
_SERVICE = "bedrock.amazonaws.com"
_DAY_S = 86_400
_MOST_DAYS = 36_600


class BedrockDriver(IamDriver):
    """Bedrock API keys: two for each user, each of which can expire or be made inactive.

    One key opens both of Bedrock's endpoints; Jackstop's gate uses `bedrock-mantle`, which is shaped as OpenAI's API.
    """

    name: str = "bedrock"
    places: Sequence[Option] = (Option("user", "the IAM user whose Bedrock API keys these are"), *USAGE_PLACES)
    last_used: bool = False
    # Two for each service and user (Bedrock User Guide, "API keys", and LimitExceeded of the action that makes them).
    most_keys: int = 2
    expires: bool = True
    permission: str = (
        "Make an IAM user for Jackstop alone, never the one whose keys it rotates, give it this policy with the"
        " account's number and the user's name written in, and make it one access key. The condition keeps it from"
        " making credentials for anything but Bedrock. The third statement is for reading usage, and the last two for"
        " reading the logs in S3, with the bucket and the prefix written in; they can be left out.\n"
        + json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "iam:CreateServiceSpecificCredential",
                        "Resource": "arn:aws:iam::ACCOUNT:user/USER",
                        "Condition": {"StringEquals": {"iam:ServiceSpecificCredentialServiceName": _SERVICE}},
                    },
                    {
                        "Effect": "Allow",
                        "Action": [
                            "iam:ListServiceSpecificCredentials",
                            "iam:UpdateServiceSpecificCredential",
                            "iam:DeleteServiceSpecificCredential",
                        ],
                        "Resource": "arn:aws:iam::ACCOUNT:user/USER",
                    },
                    aws_metrics.STATEMENT,
                    *aws_logs.STATEMENTS,
                ],
            },
            indent=2,
        )
    )
    sources: Mapping[str, str] = {
        "list": f"{_API}ListServiceSpecificCredentials.html",
        "create": f"{_API}CreateServiceSpecificCredential.html",
        "disable": f"{_API}UpdateServiceSpecificCredential.html",
        "enable": f"{_API}UpdateServiceSpecificCredential.html",
        "delete": f"{_API}DeleteServiceSpecificCredential.html",
        "verify": "https://docs.aws.amazon.com/bedrock/latest/userguide/models-get-info.html",
        "usage": "https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-mantle-metrics.html",
        "requests": "https://docs.aws.amazon.com/bedrock/latest/userguide/logging-cloudtrail-mantle.html, "
        "logging-using-cloudtrail.html and model-invocation-logging.html",
    }
    log_names_keys: bool = False

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The user's keys for Bedrock. Their aliases are AWS's own, and so no names."""
        iam = administrator("iam", admin)
        asked = {"UserName": required(place, "user"), "ServiceName": _SERVICE}
        found: list[dict[str, Any]] = []
        # botocore 1.44 knows no paginator for this action, though it comes in pages.
        while True:
            with answered("list_service_specific_credentials"):
                page = iam.list_service_specific_credentials(**asked)
            found += page.get("ServiceSpecificCredentials", [])
            if not page.get("IsTruncated"):
                return [_key(entry) for entry in found]
            asked["Marker"] = page["Marker"]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key, which gets no name. It lives whole days: a part of one is rounded up."""
        iam = administrator("iam", admin, attempts=1)
        age = {} if expires_s is None else {"CredentialAgeDays": min(max(-(-expires_s // _DAY_S), 1), _MOST_DAYS)}
        with answered("create_service_specific_credential"):
            made = iam.create_service_specific_credential(UserName=required(place, "user"), ServiceName=_SERVICE, **age)
        entry = made["ServiceSpecificCredential"]
        return Created(
            entry["ServiceSpecificCredentialId"], Secret(entry["ServiceCredentialSecret"]), _key(entry).expires_us
        )

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        """Make a key inactive."""
        with unless_gone():
            self._set(admin, place, key_id, "Inactive")

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        """Make a key active."""
        self._set(admin, place, key_id, "Active")

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        """Delete a key for good."""
        iam = administrator("iam", admin)
        with unless_gone(), answered("delete_service_specific_credential"):
            iam.delete_service_specific_credential(UserName=required(place, "user"), ServiceSpecificCredentialId=key_id)

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """By the list of models at the root of `bedrock-mantle`, whichever of its shapes the credential's URL is of."""
        parts = urlsplit(base_url)
        root = parts.path.removesuffix("/openai").removesuffix("/anthropic")
        return trial.list_models("openai", f"{parts.scheme}://{parts.netloc}{root}", secret, ca, refused=trial.AWS)

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        """By model, for the whole account and region. The input tokens hold those of the cache."""
        return aws_metrics.read(aws_metrics.MANTLE, admin, place, since_us, until_us)

    def _set(self, admin: Administration, place: Mapping[str, str], key_id: str, status: str) -> None:
        iam = administrator("iam", admin)
        with answered("update_service_specific_credential"):
            iam.update_service_specific_credential(
                UserName=required(place, "user"), ServiceSpecificCredentialId=key_id, Status=status
            )


def _key(entry: Mapping[str, Any]) -> ProviderKey:
    return ProviderKey(
        id=entry["ServiceSpecificCredentialId"],
        state="active" if entry["Status"] == "Active" else "disabled",
        created_us=from_datetime(entry["CreateDate"]) if "CreateDate" in entry else None,
        expires_us=from_datetime(entry["ExpirationDate"]) if entry.get("ExpirationDate") else None,
    )


DRIVER: Final = BedrockDriver()

"""AWS: the access keys of an IAM user, and CloudWatch's counts of what Bedrock's runtime did for the account."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from jackstop.clock import from_datetime
from jackstop.providers.drivers import aws_logs, aws_metrics
from jackstop.providers.drivers.answers import required, unless_gone
from jackstop.providers.drivers.aws_client import REGION, administrator, answered, client, pages
from jackstop.providers.drivers.aws_iam import USAGE_PLACES, IamDriver
from jackstop.providers.drivers.aws_metrics import Buckets
from jackstop.providers.drivers.driver import (
    Administration,
    CallFailed,
    Created,
    Option,
    ProviderKey,
    Verdict,
)
from jackstop.secret import Secret

_API = "https://docs.aws.amazon.com/IAM/latest/APIReference/API_"
_REFUSED = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "ExpiredToken"})


class AwsDriver(IamDriver):
    """IAM access keys: two for each user, each of which can be made inactive.

    A new key may be refused for some seconds: IAM is eventually consistent (IAM User Guide, "Changes that I make are
    not always immediately visible").
    """

    name: str = "aws"
    places: Sequence[Option] = (
        Option("user", "the IAM user whose access keys these are"),
        *USAGE_PLACES,
        Option("sts_url", "the address of STS, where it is not Amazon's own", required=False),
    )
    last_used: bool = True
    # "A user can have a maximum of two access keys" (IAM User Guide, "Manage access keys for IAM users").
    most_keys: int = 2
    expires: bool = False
    permission: str = (
        "Make an IAM user for Jackstop alone, never the one whose keys it rotates, give it this policy with the"
        " account's number and the user's name written in, and make it one access key. The second statement is for"
        " reading usage, and the last two for reading the logs in S3, with the bucket and the prefix written in; they"
        " can be left out.\n"
        + json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": [
                            "iam:ListAccessKeys",
                            "iam:CreateAccessKey",
                            "iam:UpdateAccessKey",
                            "iam:DeleteAccessKey",
                            "iam:GetAccessKeyLastUsed",
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
        "list": f"{_API}ListAccessKeys.html and API_GetAccessKeyLastUsed.html",
        "create": f"{_API}CreateAccessKey.html",
        "disable": f"{_API}UpdateAccessKey.html",
        "enable": f"{_API}UpdateAccessKey.html",
        "delete": f"{_API}DeleteAccessKey.html",
        "verify": "https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html",
        "usage": "https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-runtime-metrics.html",
        "requests": "https://docs.aws.amazon.com/bedrock/latest/userguide/logging-using-cloudtrail.html and "
        "model-invocation-logging.html",
    }
    log_names_keys: bool = True

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The user's keys. They have no names."""
        iam = administrator("iam", admin)
        keys = []
        for entry in pages(iam, "list_access_keys", "AccessKeyMetadata", UserName=required(place, "user")):
            with answered("get_access_key_last_used"):
                used = iam.get_access_key_last_used(AccessKeyId=entry["AccessKeyId"])["AccessKeyLastUsed"]
            keys.append(
                ProviderKey(
                    id=entry["AccessKeyId"],
                    state="active" if entry["Status"] == "Active" else "disabled",
                    created_us=from_datetime(entry["CreateDate"]) if "CreateDate" in entry else None,
                    last_used_us=from_datetime(used["LastUsedDate"]) if used.get("LastUsedDate") else None,
                )
            )
        return keys

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key, which gets no name. Its secret has the form `ACCESS_KEY_ID:SECRET_ACCESS_KEY`."""
        iam = administrator("iam", admin, attempts=1)
        with answered("create_access_key"):
            made = iam.create_access_key(UserName=required(place, "user"))["AccessKey"]
        return Created(made["AccessKeyId"], Secret(f"{made['AccessKeyId']}:{made['SecretAccessKey']}"))

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
        with unless_gone(), answered("delete_access_key"):
            iam.delete_access_key(UserName=required(place, "user"), AccessKeyId=key_id)

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """By asking STS who it is, which needs no permission and cannot be denied by one."""
        from botocore.exceptions import BotoCoreError, ClientError

        region = place.get("region") or REGION
        try:
            client("sts", secret, region=region, url=place.get("sts_url", ""), ca=ca).get_caller_identity()
        except ClientError as error:
            return "refused" if error.response.get("Error", {}).get("Code") in _REFUSED else "unsure"
        except (BotoCoreError, CallFailed):
            return "unsure"
        return "works"

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        """By model, for the whole account and region: CloudWatch does not tell keys apart."""
        return aws_metrics.read(aws_metrics.RUNTIME, admin, place, since_us, until_us)

    def _set(self, admin: Administration, place: Mapping[str, str], key_id: str, status: str) -> None:
        iam = administrator("iam", admin)
        with answered("update_access_key"):
            iam.update_access_key(UserName=required(place, "user"), AccessKeyId=key_id, Status=status)


DRIVER: Final = AwsDriver()

"""What the drivers for an IAM user's credentials have in common: whose they are, and what AWS tells of their use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from jackstop.providers.drivers import aws_logs, aws_metrics
from jackstop.providers.drivers.answers import Absent
from jackstop.providers.drivers.aws_metrics import Buckets
from jackstop.providers.drivers.driver import Administration, Kind, LogPage, Option, Verb

USAGE_PLACES = (
    Option("region", "the region whose Bedrock usage is read; without it none is", required=False),
    *aws_logs.PLACES,
)


class IamDriver(Absent):
    """A user has several credentials, each of which can be made inactive. What AWS tells of use is the account's."""

    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset(("list", "create", "disable", "enable", "delete"))
    base_url: str = "https://iam.amazonaws.com"
    options: Sequence[Option] = (
        Option(
            "region", "the region that IAM is signed for, where it is not us-east-1 (GovCloud, China)", required=False
        ),
        Option("cloudwatch_url", "CloudWatch's address, where it is not Amazon's own", required=False),
        *aws_logs.OPTIONS,
    )
    usage_poll_s: int = aws_metrics.POLL_S
    usage_width_us: int = aws_metrics.WIDTH_US
    usage_delay_s: int = aws_metrics.DELAY_S
    requests_poll_s: int = aws_logs.POLL_S
    requests_delay_s: int = aws_logs.DELAY_S
    log_places: Sequence[str] = aws_logs.LOG_PLACES

    def costs(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        """Nothing: Cost Explorer has no dimension for a key."""
        return []

    def requests(
        self,
        admin: Administration,
        place: Mapping[str, str],
        since_us: int,
        until_us: int,
        *,
        written_us: int,
        known: Collection[str],
    ) -> LogPage:
        """What CloudTrail and invocation logs have of single inferences, of all users of the account."""
        return aws_logs.read(admin, place, since_us, until_us, written_us=written_us, known=known)

    def log_service(self, base_url: str) -> str:
        return aws_logs.service_of(base_url)

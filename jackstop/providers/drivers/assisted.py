"""A provider that has no administration API: all that can be asked is whether a secret works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jackstop.providers.drivers import trial
from jackstop.providers.drivers.answers import Absent
from jackstop.providers.drivers.driver import Kind, Option, Verb, Verdict
from jackstop.secret import Secret


class AssistedDriver(Absent):
    """No verb but `verify`: a person or a deposited standby brings the new key, and a person ends the old one."""

    name: str
    kind: Kind = "assisted"
    verbs: frozenset[Verb] = frozenset()
    base_url: str
    options: Sequence[Option] = ()
    places: Sequence[Option] = ()
    last_used = False
    most_keys = 0
    expires = False
    permission: str
    sources: Mapping[str, str]

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        return trial.list_models(provider, base_url, secret, ca)

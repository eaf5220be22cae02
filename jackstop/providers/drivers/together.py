"""Together: keys are made, given an expiry and deleted in its console only.

Facts: the official SDK together 3.1.1 has no call for keys, and docs.together.ai/docs/api-keys-authentication names
the console, read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping

from jackstop.providers.drivers.assisted import AssistedDriver


class TogetherDriver(AssistedDriver):
    """The credential's base URL is https://api.together.xyz."""

    name = "together"
    base_url = "https://api.together.xyz"
    permission = (
        "None: Together has no administration API for keys. They are made, with an expiry, and deleted at "
        "api.together.ai/settings/api-keys."
    )
    sources: Mapping[str, str] = {"verify": "GET /v1/models, together 3.1.1 resources/models.py list"}


DRIVER = TogetherDriver()

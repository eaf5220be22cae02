"""Groq: keys are made and deleted in its console only.

Facts: the official SDK groq 1.7.0 has inference, batches and files and nothing else, read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping

from jackstop.providers.drivers.assisted import AssistedDriver


class GroqDriver(AssistedDriver):
    """The credential's base URL is https://api.groq.com/openai."""

    name = "groq"
    base_url = "https://api.groq.com/openai"
    permission = "None: Groq has no administration API. Keys are made and deleted at console.groq.com/keys."
    sources: Mapping[str, str] = {"verify": "GET /v1/models, groq 1.7.0 resources/models.py list"}


DRIVER = GroqDriver()

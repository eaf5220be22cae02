"""Every administration API that is practised."""

from __future__ import annotations

from jackstop.sandbox.accounts import anthropic, aws, azure, google, google_sa, mistral, openai, openrouter, xai
from jackstop.sandbox.accounts.api import Api

APIS: tuple[Api, ...] = (
    openai.API,
    anthropic.API,
    anthropic.COMPLIANCE,
    openrouter.API,
    openrouter.SELF,
    xai.API,
    mistral.API,
    azure.ARM,
    azure.ENTRA,
    google.API,
    google_sa.API,
    google_sa.TOKENS,
    aws.API,
)

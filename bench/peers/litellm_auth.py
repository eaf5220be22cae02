"""Run inside LiteLLM: its custom_auth function, which knows the keys of litellm_keys.json and gives each its budget."""

import json
from pathlib import Path

from fastapi import HTTPException
from litellm.proxy._types import UserAPIKeyAuth

BUDGETS = json.loads(Path(__file__).with_name("litellm_keys.json").read_text())


async def user_api_key_auth(request, api_key):  # noqa: ARG001 LiteLLM calls it so
    if api_key not in BUDGETS:
        raise HTTPException(401, "no such key")
    return UserAPIKeyAuth(api_key=api_key, max_budget=BUDGETS[api_key])

"""Every request member that the official SDKs know has been read here; what is missing is missing on purpose."""

from __future__ import annotations

from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaMessages
from anthropic.types.message_create_params import MessageCreateParamsBase as Messages
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as Chat
from openai.types.embedding_create_params import EmbeddingCreateParams as Embeddings
from openai.types.responses.response_create_params import ResponseCreateParamsBase as Responses

from jackstop.gate.meter import anthropic_messages, openai_chat, openai_embeddings, openai_responses
from jackstop.gate.meter.fields import Members

# They travel as headers.
HEADERS = {"betas", "user_profile_id", "workspace_id"}


def missing(kind: type, known: Members) -> set[str]:
    return set(kind.__annotations__) - known.keys() - HEADERS


def test_openai():
    assert missing(Chat, openai_chat.MEMBERS) == set()
    assert missing(Embeddings, openai_embeddings.MEMBERS) == set()
    assert missing(Responses, openai_responses.MEMBERS) == {"background_options", "context_management"}


def test_anthropic():
    assert missing(Messages, anthropic_messages.MEMBERS) == set()
    assert missing(BetaMessages, anthropic_messages.MEMBERS) == {
        "billing_policy",
        "compaction",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "thread",
    }

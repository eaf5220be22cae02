"""An answer that says no, before a provider puts it into its own shape."""

from __future__ import annotations


class ProviderError(Exception):
    """What a practice provider refuses, and why.

    `kind` (written as `type`) and `code` are the provider's own words; empty ones follow from the status. `details` are
    further fields, which Anthropic alone writes.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "",
        code: str | None = None,
        param: str | None = None,
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.details = details
        self.retry_after_s: int | None = None

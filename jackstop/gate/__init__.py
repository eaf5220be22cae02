"""The gate: the proxy processes that applications call instead of the provider."""

"""Jackstop: keeps an organisation's LLM credentials from being hijacked, and bounds the loss when they are."""

__version__ = "0.1.0"

"""Practice providers on loopback: OpenAI, Anthropic and DeepSeek as their SDKs know them, with a bill of their own."""

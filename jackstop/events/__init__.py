"""Events: one row per request or log record, in one schema."""

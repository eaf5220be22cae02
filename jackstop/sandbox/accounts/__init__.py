"""The practice providers' administration: keys and their owners, usage, limits and audit logs, with the real quirks."""

"""Migrations of the store, run by `Store.migrate`."""

"""Notify: news to people and to other systems, at least once."""

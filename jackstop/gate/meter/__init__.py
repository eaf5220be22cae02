"""Meters: what a request of one dialect can cost, and what it did use. One module per dialect."""

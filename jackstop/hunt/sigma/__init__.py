"""Sigma rules in and out: those about single records of the logs that hunts read."""

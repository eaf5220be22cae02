"""Replays of attacks, one module for each threat, against the practice set-up on loopback only."""

"""Detections: SQL over events and what follows from them, each beside its description."""

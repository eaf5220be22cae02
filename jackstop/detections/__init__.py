"""Detections: what to look for in events, each as NAME.yaml (what it means) and NAME.sql (how it is found)."""

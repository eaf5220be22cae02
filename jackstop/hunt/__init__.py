"""Hunts: detections over logs that came from elsewhere."""

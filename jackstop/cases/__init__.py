"""Cases: what detections found, gathered by key or cause, and what is done about it."""

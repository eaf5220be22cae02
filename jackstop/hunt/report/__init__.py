"""What came of a hunt, as people and programs read it: text, JSON, OCSF, and a page to forward."""

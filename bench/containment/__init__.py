"""The containment bench: attacks in benign load with churn, on a virtual clock, against the project's own code."""

"""What is said about money as it is spent: alerts on budgets, and a digest of each day."""

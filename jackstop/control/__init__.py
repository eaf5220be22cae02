"""Control: the one process that writes the store; state, ledger and commands for a node."""

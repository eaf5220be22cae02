"""State that outlives a process: tables, migrations, the change feed and the audit log."""

"""What is kept of an experiment: its folder, ledger, tables and adapters."""

"""The interactive session at a terminal: reading messages and asking for approvals."""

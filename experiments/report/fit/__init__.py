"""What the report of a population fit shows: its figures, tables and numbers."""

"""One file per page of the report: its figures, tables and sentences."""

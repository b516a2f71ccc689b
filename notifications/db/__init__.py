"""Database helpers: statements for many rows, short transactions, a thread for queries."""

"""Work on any database: many rows at once, short transactions, a thread of one's own."""

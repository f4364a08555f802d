"""What crosses the wire and the journal: messages, plans, rows, and the numbers of batches."""

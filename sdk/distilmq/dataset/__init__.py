"""From the rows of a run to datasets: the union of their types, the files, the card."""

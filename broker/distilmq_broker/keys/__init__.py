"""The keys of a broker: its own, those that it lets in, and the files that it hands out."""

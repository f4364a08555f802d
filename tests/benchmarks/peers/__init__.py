"""What others do with the same rows and the same server: one script each, for an interpreter of its own."""

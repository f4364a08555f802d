"""What "one more worker" means to each launcher."""

"""What the broker decides: pure, events in and commands out."""

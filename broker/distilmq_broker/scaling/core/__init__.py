"""What the scaler decides: pure, events in and commands out."""

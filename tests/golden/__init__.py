"""What each release writes on the wire and on disk, kept for all later ones to read."""

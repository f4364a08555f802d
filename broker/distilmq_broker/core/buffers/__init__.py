"""Input buffers: one small class for each manner of filling."""

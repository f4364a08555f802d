"""The worker program of a host that serves the runs of a broker."""

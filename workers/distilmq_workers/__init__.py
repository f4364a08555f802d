"""The worker program: a supervisor per host, and one step process per slot."""

"""Moving frames between processes: the ports, ZeroMQ, and an in-memory one for tests."""

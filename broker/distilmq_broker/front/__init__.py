"""The broker: the service in front of many runs, which owns the port and starts a coordinator for each."""

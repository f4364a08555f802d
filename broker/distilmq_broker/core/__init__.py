"""The coordinator's mind: events in, commands out, no I/O, no clock, no chance."""

"""One file per technology that stands behind a port."""

"""Asking models through their providers' batch jobs: cheaper, and within a day instead of at once."""

"""Keeping the kernel's table in step with the backends: which are alive, and how busy they are."""

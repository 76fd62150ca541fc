"""Checkpoint files of any origin as plain values, without running anything in them."""

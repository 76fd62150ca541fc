"""Compiles a network over whole images into a step over one token: trace, lower, schedule, buffers, emit."""

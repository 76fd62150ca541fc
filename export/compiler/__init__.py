"""Compiles a network over whole images into a step over one token: trace, lower, schedule, buffers, emit.

May import: graph, image_network.
Public names: `compile` (compile_step, CompiledStep).
"""

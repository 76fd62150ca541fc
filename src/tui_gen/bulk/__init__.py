"""Samples by the million: a job is cut into parts, which any process may draw; a folder keeps them.

Imports what a run needs and `output`, never the screen; pyarrow for Parquet and ray for a cluster, where they are
asked for. Public: `Job`, `Part` and `Request` (job), `Painter` (draw), `Results` (folder), `on_this_machine` and
`on_ray` (engines).
"""

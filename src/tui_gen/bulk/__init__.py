"""Rows by the million: a job is cut into parts, which any process may compute; a folder keeps them.

May import: output and what it may import; pyarrow for Parquet and ray for a cluster, where they are asked for.
Public names: `job` (Drawing, Scoring, Part, cut), `compute` (Computer, Setup), `folder` (Results), `engines`
(on_this_machine, on_ray).
"""

"""A page for browsers that plays models by itself: its files lie here, and are put beside models and onnxruntime-web.

May import: library and what it may import.
Public names: `site` (PageModel, page_model, runtime_files, write_site).
"""

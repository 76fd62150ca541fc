"""Writers of samples: to a pipe, a terminal or a file.

May import: library and what it may import.
Public names: `writers` (writer_for), `branch_file` (write_output, clipboard_text),
`comparison` (ComparisonWriter).
"""

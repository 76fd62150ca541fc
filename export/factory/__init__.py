"""Networks that their owner's own function builds: how they are called, and what they answer.

The only part of the exporter that runs code which is not its own; its command line does so in a child process.
May import: images, text and what they may import.
Public names: `read` (read_factory), `owner` (build_module), `images` (Adapter), `text` (answers_of).
"""

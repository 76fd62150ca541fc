"""From a network over whole images to a step over one pixel."""

"""Recurrent language models: read from the tensors and names of a checkpoint, with vocabulary and step function."""

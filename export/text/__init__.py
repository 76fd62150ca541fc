"""Recurrent language models: what their tensors say of them, their vocabularies, their step functions."""

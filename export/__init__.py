"""Training PyTorch networks and turning them into tui-gen model folders (needs torch; never imported by tui_gen)."""

"""Training PyTorch networks and turning them into tui-gen model folders (needs torch; never imported by tui_gen).

In a checkout this is the package `export`, in the wheel `tui_gen_export`.
"""

"""Image networks: what their tensors say of them, and the whole-image form that everything is compared with."""

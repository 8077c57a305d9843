"""Drawing: renderer, light, lens, backgrounds and image effects."""

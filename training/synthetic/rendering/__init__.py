"""How it is drawn: renderer, light, lens, water, noise and backgrounds."""

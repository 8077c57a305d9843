"""What the demo is made of: clip, player, recorder, figures and pictures."""
